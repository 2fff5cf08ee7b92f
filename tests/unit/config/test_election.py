"""The election of config's leader (docs/decisions/0006, step 24), against a key and a clock."""

import pytest

from components.bus.entries import Entry
from components.bus.staleness import MARGIN_S
from components.config.election import AGAIN_S, LOOK_EVERY_S, Election, GiveBack, Look, Wait, Write
from contracts.message import decode, encode
from contracts.records import LeaderLease

TTL_S = 5.0


class Key:
    """The key ``leaders.config`` and a clock for all replicas."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.revision = 0
        self.entry: Entry | None = None

    def write(self, lease: LeaderLease | None, over: int | None = None) -> int | None:
        """Store the lease; None when the key is at another revision than ``over``."""
        if over is not None and over != self.revision:
            return None
        self.revision += 1
        value = encode(lease) if lease is not None else None
        self.entry = Entry(key="config", value=value, revision=self.revision, created_ms=0)
        return self.revision

    def lease(self) -> LeaderLease | None:
        """What the key holds."""
        value = self.entry.value if self.entry is not None else None
        return decode(value, LeaderLease) if value is not None else None


class Replica:
    """A replica that carries out what its election asks for."""

    def __init__(self, key: Key, name: str, client: int) -> None:
        self.key = key
        self.name = name
        self.client = client
        self.link = 1
        self.election = Election(self._claim, lambda: key.now_s, ttl_s=TTL_S)

    def leads(self) -> bool:
        """Whether it may act at this moment."""
        return self.election.leading

    def step(self) -> bool:
        """Carry out one request; False when there is nothing to do at this moment."""
        request, election = self.election.next(), self.election
        if isinstance(request, Look):
            election.found(self.key.entry, self.link)
        elif isinstance(request, Write):
            revision = self.key.write(request.lease, request.revision)
            election.written(revision) if revision is not None else election.refused()
        elif isinstance(request, GiveBack):
            given_back = self.key.write(None, request.revision)
            election.given_back() if given_back is not None else election.refused()
        return not isinstance(request, Wait)

    def settle(self) -> None:
        """Until there is nothing to do at this moment."""
        for _ in range(10):
            if not self.step():
                return
        pytest.fail("it never waits")

    def write_unheard(self) -> None:
        """A write lands, and its answer is lost."""
        request = self.election.next()
        assert isinstance(request, Write)
        assert self.key.write(request.lease, request.revision) is not None
        self.election.failed("no answer")

    def _claim(self) -> LeaderLease:
        since_ms = int(self.key.now_s * 1000)
        return LeaderLease(holder=self.name, since_ms=since_ms, nats_client=self.client)


@pytest.fixture
def key() -> Key:
    return Key()


def elected(key: Key, name: str = "config-0", client: int = 7) -> Replica:
    replica = Replica(key, name, client)
    replica.election.seen(key.entry)
    replica.settle()
    assert replica.leads()
    return replica


def standing(key: Key, name: str = "config-1", client: int = 8) -> Replica:
    replica = Replica(key, name, client)
    replica.election.seen(key.entry)
    replica.settle()
    assert replica.election.stage == "standing"
    return replica


def test_one_of_two_is_elected_when_nobody_leads(key: Key) -> None:
    one, two = Replica(key, "config-0", 7), Replica(key, "config-1", 8)
    for replica in (one, two):
        replica.election.seen(None)
        replica.step()  # both find the key free
    one.settle()
    two.settle()
    assert (one.leads(), two.leads()) == (True, False)
    assert one.election.holder == "config-0"


def test_a_leader_renews_and_stays(key: Key) -> None:
    leader, other = elected(key), standing(key)
    since_ms = leader._claim().since_ms
    for _ in range(40):
        key.now_s += 0.5
        leader.settle()
        other.settle()
        assert leader.leads()
    assert other.election.stage == "standing"
    assert key.lease() == LeaderLease(holder="config-0", since_ms=since_ms, nats_client=7)


def test_a_lease_counts_from_before_it_was_sent_and_ends_before_its_key_does(key: Key) -> None:
    leader = Replica(key, "config-0", 7)
    leader.election.seen(None)
    leader.step()
    request = leader.election.next()
    assert isinstance(request, Write)
    revision = key.write(request.lease, request.revision)
    assert revision is not None
    key.now_s += 3.0  # the answer takes its time
    leader.election.written(revision)
    assert leader.leads()
    key.now_s += 1.49
    assert leader.leads()
    key.now_s += 0.02
    assert not leader.leads()
    assert leader.election.next() == GiveBack(revision)
    assert leader.election.reason == "the lease could not be renewed in time"


def test_step_24_the_advisory_of_the_leaders_connection_elects_the_other_at_once(key: Key) -> None:
    elected(key)
    other = standing(key)
    other.election.disconnected("", 8)  # somebody else's connection
    assert isinstance(other.election.next(), Wait)
    other.election.disconnected("", 7)
    other.settle()
    assert other.leads()
    assert other.election.holder == "config-1"


def test_step_24_a_deposed_leader_that_lives_stops_at_its_next_renewal(key: Key) -> None:
    leader, other = elected(key), standing(key)
    other.election.disconnected("", 7)
    other.settle()
    assert leader.leads()  # it has not heard
    key.now_s += 1.0
    leader.settle()
    assert not leader.leads()
    assert leader.election.reason == "the lease was taken"
    assert other.leads()
    assert (held := key.lease()) is not None
    assert held.holder == "config-1"


def test_step_24_a_leader_that_died_right_after_it_renewed_is_followed_at_once(key: Key) -> None:
    """The server tells of its connection once, and does so before the renewal was seen."""
    leader, other = elected(key), standing(key)
    key.now_s += 1.0
    leader.settle()  # other has not seen this renewal
    other.election.disconnected("", 7)
    other.settle()
    assert other.leads()


def test_step_24_so_is_one_whose_lease_could_not_be_written_over_at_first(key: Key) -> None:
    elected(key)
    other = standing(key)
    other.election.disconnected("", 7)
    assert isinstance(other.election.next(), Write)
    other.election.failed("no answer")
    key.now_s += AGAIN_S
    other.settle()
    assert other.leads()


def test_step_24_an_advisory_is_of_no_use_against_a_leader_that_is_connected_anew(
    key: Key,
) -> None:
    leader, other = elected(key), standing(key)
    key.now_s += 1.0
    leader.client = 9
    leader.settle()  # other has not seen this renewal
    other.election.disconnected("", 7)
    other.settle()
    assert (leader.leads(), other.election.stage) == (True, "standing")


def test_an_advisory_of_another_server_is_not_of_the_leaders_connection(key: Key) -> None:
    key.write(LeaderLease(holder="config-0", since_ms=0, nats_client=7, nats_server="A"))
    other = standing(key)
    other.election.disconnected("B", 7)
    assert isinstance(other.election.next(), Wait)
    other.election.disconnected("A", 7)
    assert isinstance(other.election.next(), Write)


def test_a_leader_takes_no_notice_of_an_advisory_of_its_own_connection(key: Key) -> None:
    leader = elected(key)
    leader.election.seen(key.entry)
    leader.election.disconnected("", 7)
    assert isinstance(leader.election.next(), Wait)
    assert leader.leads()


def test_a_renewal_that_landed_unheard_is_found_and_followed_by_another(key: Key) -> None:
    leader = elected(key)
    key.now_s += 1.0
    leader.write_unheard()
    key.now_s += 1.0
    leader.settle()
    assert leader.leads()
    assert leader.election._revision == key.revision
    key.now_s += 4.4  # extended by the last write, and not by the one before
    assert leader.leads()


def test_a_leader_that_cannot_renew_ends_and_is_elected_again_when_the_key_is_gone(
    key: Key,
) -> None:
    leader = elected(key)
    for _ in range(20):
        key.now_s += 0.5
        request = leader.election.next()
        if isinstance(request, Write | Look | GiveBack):
            leader.election.failed("no connection")
    assert leader.election.stage == "standing"
    key.write(None)
    key.now_s += LOOK_EVERY_S
    leader.settle()
    assert leader.leads()


def test_a_claim_that_landed_unheard_is_not_waited_for(key: Key) -> None:
    replica = Replica(key, "config-0", 7)
    replica.election.seen(None)
    replica.step()
    replica.write_unheard()
    assert replica.election.next() == Wait(key.now_s + AGAIN_S)
    key.now_s += AGAIN_S
    replica.settle()
    assert replica.leads()


def test_a_leader_that_ends_in_order_gives_its_lease_back(key: Key) -> None:
    leader, other = elected(key), standing(key)
    leader.election.resign()
    assert not leader.leads()
    while leader.election.stage == "leaving":
        leader.step()
    assert key.lease() is None
    other.election.seen(key.entry)
    other.settle()
    assert other.leads()


def test_a_lease_is_given_back_although_its_last_renewal_was_cut_short(key: Key) -> None:
    leader = elected(key)
    key.now_s += 1.0
    request = leader.election.next()
    assert isinstance(request, Write)
    key.write(request.lease, request.revision)  # and the process is told to end before the answer
    leader.election.resign()
    while leader.election.stage == "leaving":
        leader.step()
    assert key.lease() is None


def test_who_lost_its_lease_gives_back_nothing_of_its_successor(key: Key) -> None:
    leader, other = elected(key), standing(key)
    other.election.disconnected("", 7)
    other.settle()
    leader.election.resign()
    while leader.election.stage == "leaving":
        leader.step()
    assert key.lease() is not None
    assert other.leads()


def test_a_lease_that_nobody_renews_and_that_does_not_expire_is_taken_after_its_time(
    key: Key,
) -> None:
    elected(key)
    other = standing(key)
    began_s = key.now_s
    while not other.leads():
        key.now_s += 0.25
        other.settle()
        assert key.now_s < began_s + 20
    assert key.now_s - began_s >= TTL_S + MARGIN_S


def test_a_lease_that_is_renewed_unseen_is_not_taken(key: Key) -> None:
    leader, other = elected(key), standing(key)
    for _ in range(60):
        key.now_s += 0.25
        leader.settle()
        other.settle()
    assert leader.leads()


def test_a_stale_read_that_shows_the_key_free_costs_one_refused_write_a_second(key: Key) -> None:
    elected(key)
    other = standing(key)
    writes = 0
    for _ in range(100):
        request = other.election.next()
        if isinstance(request, Look):
            other.election.found(None, 1)
        elif isinstance(request, Write):
            writes += 1
            assert key.write(request.lease, request.revision) is None
            other.election.refused()
        key.now_s += 0.05
    assert 3 <= writes <= 6


def test_a_value_that_cannot_be_read_is_somebodys(key: Key) -> None:
    key.revision = 1
    key.entry = Entry(key="config", value=b"\xff", revision=1, created_ms=0)
    other = standing(key)
    assert other.election.holder == "unknown"
    other.election.disconnected("", 0)
    assert isinstance(other.election.next(), Wait)


def test_the_end_of_a_lease_that_cannot_be_renewed_is_not_come_up_to_in_ever_smaller_steps(
    key: Key,
) -> None:
    leader = elected(key)
    attempts = 0
    while leader.election.stage == "leading":
        request = leader.election.next()
        if isinstance(request, Wait):
            key.now_s = request.until_s
        elif isinstance(request, Write):
            attempts += 1
            leader.election.failed("no connection")
    assert 4 <= attempts <= 12
