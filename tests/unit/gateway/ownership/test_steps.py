"""The numbered steps of docs/decisions/0006-ownership.md that concern the pod, each by its name."""

from typing import Any

import pytest

from components.gateway.ownership import commands as ask
from components.gateway.ownership.commands import Command, Permit
from components.gateway.ownership.guild import Me
from components.gateway.ownership.joining import Joiner
from components.gateway.ownership.pod import PodMachine
from contracts.ids import Epoch, Generation, GuildId, Incarnation, PodId, Sequence
from contracts.records import (
    Assignment,
    EarlierOwner,
    Holder,
    Joining,
    PodLease,
    ProcessEnd,
    Released,
    Silent,
    StateSource,
)

GUILD = GuildId("42")
A, B = PodId("gateway-0"), PodId("gateway-1")
A1, A2, B1 = Incarnation("t-1"), Incarnation("t-9"), Incarnation("t-2")
LINK = 1


def assignment(epoch: int, owner: tuple[PodId, Incarnation] = (A, A1), **more: Any) -> Assignment:
    """The guild's entry."""
    fields: dict[str, Any] = {"cause": "placed", **more}
    return Assignment(
        guild=GUILD,
        pod=owner[0],
        incarnation=owner[1],
        epoch=Epoch(epoch),
        first_sequence=Sequence(1),
        generation=Generation("g"),
        since_ms=0,
        **fields,
    )


def earlier(epoch: int, owner: tuple[PodId, Incarnation] = (B, B1)) -> EarlierOwner:
    """An owner that may not be silent."""
    return EarlierOwner(pod=owner[0], incarnation=owner[1], epoch=Epoch(epoch))


def lease(pod: PodId, incarnation: Incarnation | None, **more: Any) -> PodLease:
    """A pod's lease."""
    fields: dict[str, Any] = {"data": f"data-{pod}", "state": "serving", **more}
    return PodLease(
        pod=pod,
        incarnation=incarnation,
        capacity=10,
        version="1",
        engine_version=1,
        started_ms=0,
        **fields,
    )


class Driver:
    """Carries out no command, and keeps them all."""

    def __init__(self, pod: PodId = A, incarnation: Incarnation = A1, **more: Any) -> None:
        me = Me(pod=pod, incarnation=incarnation, data=f"data-{pod}")
        self.machine = PodMachine(me, ttl_s=5.0, margin_s=0.5, **more)
        self.now_s = 100.0
        self.revision = 0
        self.asked: list[Command] = []

    def do(self, method: str, *arguments: Any, **more: Any) -> list[Command]:
        """Call a method with the time; returns what it asks for."""
        commands: list[Command] = getattr(self.machine, method)(*arguments, self.now_s, **more)
        self.asked += commands
        return commands

    def up(self) -> "Driver":
        """Connected, renewed, and all assignments read."""
        self.do("connected", LINK)
        self.do("renewed", self.now_s, LINK)
        self.do("assignments_read", LINK, {})
        return self

    def assign(self, entry: Assignment | None) -> list[Command]:
        """The next revision of the guild's entry is seen."""
        self.revision += 1
        return self.do("assignment_seen", GUILD, entry, self.revision)

    def owns(self, entry: Assignment) -> "Driver":
        """The pod owns the guild and serves it."""
        self.assign(entry)
        self.do("built", GUILD, "disk", 0)
        self.do("caught_up", GUILD, entry.epoch, 0)
        assert self.may(entry.epoch)
        return self

    def follows(self, entry: Assignment) -> "Driver":
        """The pod follows the guild."""
        self.assign(entry)
        self.do("built", GUILD, "log", 0)
        return self

    def may(self, epoch: int) -> bool:
        """The gate."""
        return self.machine.may_act(Permit(GUILD, Epoch(epoch)), self.now_s)

    def effects(self, epoch: int) -> bool:
        """The gate for effects."""
        return self.machine.may_send_effects(GUILD, Epoch(epoch), self.now_s)


def kinds(commands: list[Command]) -> list[str]:
    """Their names."""
    return [type(command).__name__ for command in commands]


FOLLOWED = {"follower": Holder(pod=A, incarnation=A1)}
OTHER = (B, B1)


def test_step_1_a_renewal_counts_from_before_it_was_sent_for_ttl_less_margin() -> None:
    pod = Driver().up().owns(assignment(1))
    pod.now_s = 104.4
    assert pod.may(1)
    pod.now_s = 104.5
    assert not pod.may(1)
    pod.do("renewed", 101.0, LINK)  # an acknowledgement that comes late brings nothing back
    assert pod.machine.pod_refusal(pod.now_s) is None
    pod.now_s = 105.5
    assert not pod.may(1)


def test_step_1_a_lost_lease_stays_lost() -> None:
    pod = Driver().up().owns(assignment(1))
    assert kinds(pod.do("lease_lost", "fenced")) == ["EndProcess"]
    pod.do("renewed", pod.now_s, LINK)
    assert not pod.may(1)


def test_step_1_a_fence_that_the_watch_shows_ends_the_lease_at_once() -> None:
    pod = Driver().up().owns(assignment(1))
    assert kinds(pod.do("pod_seen", lease(A, A1, state="fenced"), 7)) == ["EndProcess"]
    assert not pod.may(1)


def test_step_1_a_lease_that_cannot_be_renewed_ends_the_process() -> None:
    pod = Driver().up()
    assert kinds(pod.do("renewal_failed", LINK)) == []
    pod.now_s = 104.5
    assert kinds(pod.do("tick")) == ["EndProcess"]


@pytest.mark.parametrize("acknowledged", [True, False])
def test_step_1_the_end_of_a_renewal_over_the_link_before_sends_no_further_one(
    acknowledged: bool,
) -> None:
    pod = Driver().up()
    pod.now_s += 1.0
    assert kinds(pod.do("tick")) == ["Renew"]
    pod.do("disconnected")
    assert kinds(pod.do("connected", 2)) == ["Renew"]
    if acknowledged:
        pod.do("renewed", pod.now_s, LINK)
    else:
        pod.do("renewal_failed", LINK)
    pod.now_s += 1.5
    assert kinds(pod.do("tick")) == []  # the one over this link is under way
    pod.do("renewal_failed", 2)
    pod.now_s += 1.0
    assert kinds(pod.do("tick")) == ["Renew"]


def test_step_2_a_new_connection_is_of_no_use_before_a_renewal_on_it_and_a_read_after_it() -> None:
    pod = Driver().up().owns(assignment(1))
    pod.do("disconnected")
    assert not pod.may(1)
    assert "Renew" in kinds(pod.do("connected", 2))
    assert not pod.may(1)
    assert "ReadAssignments" not in kinds(pod.do("renewed", pod.now_s, LINK))  # the one before
    pod.do("assignments_read", 2, {})
    assert not pod.may(1)  # it was not asked for after a renewal
    assert "ReadAssignments" in kinds(pod.do("renewed", pod.now_s, 2))
    pod.do("assignments_read", LINK, {})  # late news of the old connection
    assert not pod.may(1)
    pod.do("assignments_read", 2, {GUILD: (assignment(1), 1)})
    assert pod.may(1)


def test_step_2_an_assignment_that_is_gone_after_a_break_is_acted_on_no_more() -> None:
    pod = Driver().up().owns(assignment(1))
    pod.do("disconnected")
    pod.do("connected", 2)
    pod.do("renewed", pod.now_s, 2)
    assert "StopOwning" in kinds(pod.do("assignments_read", 2, {}, end=2))
    assert not pod.may(1)


def test_step_2_a_read_from_before_the_assignment_takes_nothing_away() -> None:
    pod = Driver().up().owns(assignment(1))
    pod.do("disconnected")
    pod.do("connected", 2)
    pod.do("renewed", pod.now_s, 2)
    assert "StopOwning" not in kinds(pod.do("assignments_read", 2, {}, end=1))
    assert pod.may(1)


def test_step_2_effects_wait_for_the_end_of_the_log_after_a_break() -> None:
    pod = Driver().up().owns(assignment(1))
    assert pod.effects(1)
    assert "HoldEffects" in kinds(pod.do("disconnected"))
    pod.do("connected", 2)
    pod.do("renewed", pod.now_s, 2)
    asked = pod.do("assignments_read", 2, {GUILD: (assignment(1), 1)})
    (compare,) = [command for command in asked if isinstance(command, ask.CompareEnd)]
    assert not pod.effects(1)
    pod.do("compared", GUILD, compare.ticket - 1)  # one that began before the break
    assert not pod.effects(1)
    pod.do("compared", GUILD, compare.ticket)
    assert pod.effects(1)


@pytest.mark.parametrize("epoch", [1, 3])
def test_step_3_only_the_epoch_of_the_assignment_is_acted_at(epoch: int) -> None:
    pod = Driver().up().owns(assignment(2))
    assert not pod.may(epoch)


def test_step_3_another_incarnation_of_the_pod_is_somebody_else() -> None:
    pod = Driver().up()
    assert pod.assign(assignment(1, (A, A2))) == []
    assert not pod.may(1)


def test_step_3_a_higher_epoch_on_the_log_ends_it_at_once() -> None:
    pod = Driver().up().owns(assignment(1))
    assert "StopOwning" in kinds(pod.do("epoch_on_log", GUILD, Epoch(2)))
    assert not pod.may(1)
    assert "AppendOpened" not in kinds(pod.assign(assignment(1)))


def test_step_3_an_older_entry_that_comes_late_changes_nothing() -> None:
    pod = Driver().up().owns(assignment(2))
    pod.do("assignment_seen", GUILD, assignment(1, OTHER), 0)
    assert pod.may(2)


def test_step_3_a_late_entry_gives_back_nothing_that_a_read_has_shown_elsewhere() -> None:
    pod = Driver()
    pod.do("connected", LINK)
    pod.do("renewed", pod.now_s, LINK)
    pod.do("assignments_read", LINK, {GUILD: (assignment(2, OTHER), 7)})
    assert pod.do("assignment_seen", GUILD, assignment(1), 6) == []
    assert not pod.machine.guilds


def test_step_5_the_new_owner_waits_until_every_earlier_one_has_let_go() -> None:
    pod = Driver().up().follows(assignment(1, OTHER, **FOLLOWED))
    both = [earlier(1), earlier(2, (PodId("gateway-2"), Incarnation("t-3")))]
    assert "AppendOpened" not in kinds(pod.assign(assignment(3, before=both)))
    assert not pod.may(3)
    released = Released(guild=GUILD, epoch=Epoch(1), sequence=Sequence(7), pod=B, incarnation=B1)
    assert "AppendOpened" not in kinds(pod.do("released_seen", released))
    end = ProcessEnd(pod=PodId("gateway-2"), process="p", exit_code=-9, ended_ms=0)
    pod.do("pod_seen", lease(PodId("gateway-2"), Incarnation("t-3"), process="p"), 5)
    assert kinds(pod.do("end_seen", end)) == ["AppendOpened"]
    assert pod.may(3)


@pytest.mark.parametrize(
    "proof",
    [lease(B, B1, state="fenced"), lease(B, Incarnation("t-5"))],
    ids=["fenced", "started again"],
)
def test_step_5_who_cannot_renew_any_more_has_let_go(proof: PodLease) -> None:
    pod = Driver().up().follows(assignment(1, OTHER, **FOLLOWED))
    pod.assign(assignment(2, before=[earlier(1)]))
    assert "AppendOpened" in kinds(pod.do("pod_seen", proof, 9))


def test_step_16_requests_are_awaited_while_the_earlier_owner_has_not_let_go() -> None:
    pod = Driver().up().follows(assignment(1, OTHER, **FOLLOWED))
    asked = kinds(pod.assign(assignment(2, before=[earlier(1)])))
    assert asked.count("AwaitRequests") == 1
    assert not pod.may(2)
    released = Released(guild=GUILD, epoch=Epoch(1), sequence=Sequence(7), pod=B, incarnation=B1)
    later = kinds(pod.do("released_seen", released))
    assert "AppendOpened" in later
    assert "TurnAway" not in later  # those who wait are served at the epoch that opens


def test_step_16_whoever_waits_is_turned_away_when_the_guild_goes_to_another_pod() -> None:
    pod = Driver().up().follows(assignment(1, OTHER, **FOLLOWED))
    pod.assign(assignment(2, before=[earlier(1)]))
    assert kinds(pod.assign(assignment(3, OTHER, **FOLLOWED))).count("TurnAway") == 1


def test_step_16_whoever_waits_is_turned_away_when_the_pod_stops() -> None:
    pod = Driver().up().follows(assignment(1, OTHER, **FOLLOWED))
    pod.assign(assignment(2, before=[earlier(1)]))
    assert kinds(pod.do("stop")).count("TurnAway") == 1


@pytest.mark.parametrize(
    ("cause", "careful"),
    [
        ("promoted", True),
        ("restored", True),
        ("replaced", True),
        ("restarted", False),  # its own disk says whether it crashed
        ("moved", False),
        ("drained", False),
    ],
)
def test_who_goes_on_after_a_crash_is_careful_with_what_may_have_caused_it(
    cause: str, careful: bool
) -> None:
    pod = Driver().up().follows(assignment(1, OTHER, **FOLLOWED))
    (opened,) = pod.assign(assignment(2, cause=cause))
    assert isinstance(opened, ask.AppendOpened)
    assert opened.careful == careful


def test_step_6_it_serves_once_everything_up_to_its_opening_is_applied() -> None:
    pod = Driver().up().follows(assignment(1, OTHER, **FOLLOWED))
    asked = pod.assign(assignment(2))
    assert kinds(asked) == ["AppendOpened"]
    assert kinds(pod.do("caught_up", GUILD, Epoch(1), 0)) == []  # of another epoch
    assert kinds(pod.do("caught_up", GUILD, Epoch(2), 3)) == [
        "Serve",
        "OpenEffects",
        "WriteHolds",
    ]


@pytest.mark.parametrize(
    ("cause", "soon"),
    [
        ("moved", True),
        ("drained", True),
        ("rebalanced", True),
        ("pinned", True),
        ("promoted", False),
        ("restored", False),
        ("replaced", False),
        ("restarted", False),
        ("placed", False),
    ],
)
def test_step_16_a_planned_move_is_reported_soon_and_a_takeover_when_there_is_time(
    cause: str, soon: bool
) -> None:
    pod = Driver().up()
    pod.assign(assignment(1, OTHER, **FOLLOWED))
    (follows,) = pod.do("built", GUILD, "log", 0)
    pod.assign(assignment(2, cause=cause))
    (opened,) = [
        command
        for command in pod.do("caught_up", GUILD, Epoch(2), 0)
        if isinstance(command, ask.WriteHolds)
    ]
    assert isinstance(follows, ask.WriteHolds)
    assert (follows.role, follows.soon) == ("follow", True)
    assert (opened.role, opened.soon) == ("own", soon)


def test_step_7_effects_wait_for_silence_and_then_for_the_end_of_the_log() -> None:
    pod = Driver().up().follows(assignment(1, OTHER, **FOLLOWED))
    pod.assign(assignment(2, before=[earlier(1)]))
    fence = lease(B, B1, state="fenced")
    pod.do("pod_seen", fence, 9)
    assert "OpenEffects" not in kinds(pod.do("caught_up", GUILD, Epoch(2), 0))
    pod.do("renewed", pod.now_s, LINK)
    pod.now_s += 4.0
    pod.do("renewed", pod.now_s, LINK)
    pod.now_s += 1.4
    pod.do("pod_seen", fence, 10)  # seen again: it counts from the first sight
    assert "CompareEnd" not in kinds(pod.do("tick"))
    assert pod.machine.wake_at_s(pod.now_s) <= pod.now_s + 0.1001
    pod.now_s += 0.1
    (compare,) = [c for c in pod.do("tick") if isinstance(c, ask.CompareEnd)]
    assert not pod.effects(2)
    assert kinds(pod.do("compared", GUILD, compare.ticket)) == ["OpenEffects"]
    assert pod.effects(2)


def test_step_7_a_silent_owner_is_not_waited_for() -> None:
    pod = Driver().up().follows(assignment(1, OTHER, **FOLLOWED))
    pod.assign(assignment(2, before=[earlier(1)]))
    pod.do(
        "released_seen",
        Released(guild=GUILD, epoch=Epoch(1), sequence=Sequence(7), pod=B, incarnation=B1),
    )
    pod.do("caught_up", GUILD, Epoch(2), 0)
    silent = Silent(guild=GUILD, epoch=Epoch(1), pod=B, incarnation=B1)
    assert kinds(pod.do("silent_seen", silent)) == ["CompareEnd"]


@pytest.mark.parametrize(
    ("held", "wait_s"),
    [
        ("never", 0.0),
        ("left", 0.0),
        ("expired", 5.5),
        (lease(A, A1, data="mine"), 0.0),
        (lease(A, A1, data="mine", state="fenced"), 0.0),
        (lease(A, A1), 5.5),
        (lease(A, A1, state="fenced"), 5.5),
        (lease(A, A1, state="fenced", ttl_s=9.0), 9.5),
    ],
)
def test_step_7_the_next_start_takes_the_lease_when_its_holder_can_act_no_more(
    held: Any, wait_s: float
) -> None:
    joiner = Joiner("mine", ttl_s=5.0, margin_s=0.5)
    assert joiner.free_at_s(held, 3, LINK, 100.0) == 100.0 + wait_s
    assert joiner.free_at_s(held, 3, LINK, 102.0) in (102.0, 100.0 + wait_s)


def test_step_7_a_renewal_or_another_connection_begins_the_wait_anew() -> None:
    joiner = Joiner("mine", ttl_s=5.0, margin_s=0.5)
    joiner.free_at_s(lease(A, A1), 3, LINK, 100.0)
    assert joiner.free_at_s(lease(A, A1), 4, LINK, 103.0) == 108.5
    assert joiner.free_at_s(lease(A, A1), 4, 2, 104.0) == 109.5


def test_step_8_an_entry_that_is_gone_proves_nothing() -> None:
    pod = Driver().up().follows(assignment(1, OTHER, **FOLLOWED))
    pod.assign(assignment(2, before=[earlier(1)]))
    pod.now_s += 4
    pod.do("renewed", pod.now_s, LINK)
    pod.now_s += 4
    pod.do("renewed", pod.now_s, LINK)
    pod.assign(None)
    assert not pod.may(2)
    assert "AppendOpened" not in kinds(pod.assign(assignment(2, before=[earlier(1)])))


def test_step_15_an_owner_that_is_replaced_releases_at_once_and_says_when_it_is_silent() -> None:
    pod = Driver().up().owns(assignment(1))
    moved = assignment(2, OTHER, before=[earlier(1, (A, A1))], **FOLLOWED)
    todo = pod.assign(moved)
    asked = kinds(todo)
    assert asked[:1] == ["StopOwning"]
    assert "WriteReleased" in asked
    assert [one.to for one in todo if isinstance(one, ask.WriteReleased)] == [moved.pod]
    assert "WriteSilent" not in asked
    assert not pod.may(1)
    pod.do("released_written", GUILD, Epoch(1))
    assert kinds(pod.do("effects_ended", GUILD, Epoch(1))) == ["WriteSilent"]
    pod.do("silent_written", GUILD, Epoch(1))
    assert pod.machine.guilds[GUILD].phase == "following"
    assert not pod.machine.guilds[GUILD].owes


def test_step_15_its_word_covers_earlier_epochs_only_once_they_are_silent() -> None:
    pod = Driver().up().follows(assignment(1, OTHER, **FOLLOWED))
    pod.assign(assignment(2, before=[earlier(1)]))
    pod.do("pod_seen", lease(B, B1, state="fenced"), 9)
    pod.do("caught_up", GUILD, Epoch(2), 0)
    third = (PodId("gateway-2"), Incarnation("t-3"))
    pod.assign(assignment(3, third, before=[earlier(1), earlier(2, (A, A1))]))
    assert "WriteSilent" not in kinds(pod.do("effects_ended", GUILD, Epoch(2)))
    pod.now_s += 4
    pod.do("renewed", pod.now_s, LINK)
    pod.now_s += 1.5
    assert "WriteSilent" in kinds(pod.do("tick"))


def test_step_16_an_epoch_that_was_never_opened_is_released_only_with_those_before_it() -> None:
    pod = Driver().up().follows(assignment(1, OTHER, **FOLLOWED))
    pod.assign(assignment(2, before=[earlier(1)]))  # and gateway-1 has not let go
    third = (PodId("gateway-2"), Incarnation("t-3"))
    moved = assignment(3, third, before=[earlier(1), earlier(2, (A, A1))])
    assert "WriteReleased" not in kinds(pod.assign(moved))
    asked = kinds(pod.do("pod_seen", lease(B, B1, state="fenced"), 9))
    assert "WriteReleased" in asked
    assert "WriteSilent" not in asked


def test_step_15_an_epoch_that_was_never_seen_is_released_too() -> None:
    pod = Driver().up()
    third = (PodId("gateway-2"), Incarnation("t-3"))
    asked = kinds(pod.assign(assignment(3, third, before=[earlier(2, (A, A1))])))
    assert sorted(asked) == ["WriteReleased", "WriteSilent"]


def test_step_15_an_assignment_that_is_gone_makes_nobody_silent() -> None:
    pod = Driver().up().follows(assignment(1, OTHER, **FOLLOWED))
    pod.assign(assignment(2, before=[earlier(1)]))
    pod.do("pod_seen", lease(B, B1, state="fenced"), 9)
    pod.do("caught_up", GUILD, Epoch(2), 0)
    assert "WriteReleased" in kinds(pod.assign(None))
    assert "WriteSilent" not in kinds(pod.do("effects_ended", GUILD, Epoch(2)))


def test_step_15_a_watch_that_is_behind_the_bucket_ends_in_a_read() -> None:
    pod = Driver().up().owns(assignment(1))
    assert "ReadAssignments" not in kinds(pod.do("bucket_end", 5))
    pod.now_s += 0.31
    assert "ReadAssignments" in kinds(pod.do("tick"))
    entries = {GUILD: (assignment(2, OTHER), 4)}
    old = pod.machine.assignments_read(LINK, entries, pod.now_s, end=4)
    assert "StopOwning" in kinds(old)
    pod.now_s += 0.31
    assert "ReadAssignments" in kinds(pod.do("tick")), "a leader that was deposed showed it"
    pod.machine.assignments_read(LINK, entries, pod.now_s, end=5)
    pod.now_s += 0.31  # revision 5 was a key that is gone
    assert "ReadAssignments" not in kinds(pod.do("tick"))


def test_step_17_its_own_earlier_epoch_is_known_to_itself() -> None:
    pod = Driver().up().owns(assignment(1))
    pod.assign(assignment(2, OTHER, before=[earlier(1, (A, A1))], **FOLLOWED))
    back = assignment(3, before=[earlier(1, (A, A1))])
    assert "AppendOpened" in kinds(pod.assign(back))
    assert "OpenEffects" not in kinds(pod.do("caught_up", GUILD, Epoch(3), 0))
    assert "CompareEnd" in kinds(pod.do("effects_ended", GUILD, Epoch(1)))


@pytest.mark.parametrize(
    "named",
    [
        FOLLOWED,
        {
            "joining": Joining(pod=A, incarnation=A1, purpose="own", cause="moved"),
        },
    ],
)
def test_step_18_a_follower_has_the_rows_and_may_do_nothing(named: dict[str, Any]) -> None:
    pod = Driver().up()
    assert kinds(pod.assign(assignment(1, OTHER, **named))) == ["Build"]
    (holds,) = pod.do("built", GUILD, "snapshot", 12)
    assert isinstance(holds, ask.WriteHolds)
    assert (holds.role, holds.source, holds.replayed) == ("follow", "snapshot", 12)
    assert not pod.may(1)
    assert pod.assign(assignment(1, OTHER, **named)) == []  # once


def test_step_13_every_joining_is_answered_also_by_a_pod_that_follows_already() -> None:
    def joins(since_ms: int) -> dict[str, Any]:
        joining = Joining(pod=A, incarnation=A1, purpose="own", cause="moved", since_ms=since_ms)
        return {"joining": joining}

    def answers(commands: list[Command]) -> list[int]:
        return [told.joined_ms for told in commands if isinstance(told, ask.WriteHolds)]

    pod = Driver().up()
    pod.assign(assignment(1, OTHER, **joins(7)))
    assert answers(pod.do("built", GUILD, "log", 0)) == [7]
    assert answers(pod.assign(assignment(1, OTHER, **FOLLOWED))) == []
    # It may never see that it was named no more in between.
    assert answers(pod.assign(assignment(1, OTHER, **joins(9)))) == [9]
    assert answers(pod.assign(assignment(2, OTHER, **joins(9)))) == []


def test_step_19_a_follower_whose_rows_do_not_continue_the_log_is_built_anew() -> None:
    pod = Driver().up().follows(assignment(1, OTHER, **FOLLOWED))
    assert kinds(pod.do("not_built", GUILD, "a hole")) == ["Build"]


def test_an_owner_whose_rows_do_not_continue_the_log_says_so_and_serves_nothing() -> None:
    pod = Driver().up()
    pod.assign(assignment(1))
    assert kinds(pod.do("not_built", GUILD, "a hole")) == ["Refuse"]
    assert not pod.effects(1)
    assert "Build" in kinds(pod.assign(assignment(2)))


def test_a_refused_owner_looks_again_when_its_rows_may_have_come_back() -> None:
    pod = Driver().up()
    pod.assign(assignment(1))
    pod.do("not_built", GUILD, "a hole")
    assert "Build" not in kinds(pod.assign(assignment(1)))
    holder = Holder(pod=B, incarnation=B1)
    assert kinds(pod.assign(assignment(1, follower=holder))) == ["Build"]
    assert not pod.may(1)
    assert kinds(pod.do("built", GUILD, "snapshot", 0)) == ["AppendOpened"]
    assert "Serve" in kinds(pod.do("caught_up", GUILD, Epoch(1), 0))


def test_a_refused_owner_looks_again_after_a_while() -> None:
    pod = Driver().up()
    pod.assign(assignment(1))
    pod.do("not_built", GUILD, "a hole")
    for _ in range(7):
        assert "Build" not in kinds(pod.do("tick"))
        pod.now_s += 4.4
        pod.do("renewed", pod.now_s, LINK)
    assert "Build" in kinds(pod.asked[-3:])


def test_step_21_rows_are_dropped_only_when_the_buckets_leader_names_us_nowhere() -> None:
    pod = Driver(on_disk=[GUILD]).up()
    gone = assignment(2, OTHER)
    assert kinds(pod.assign(gone)) == ["ConfirmDrop"]
    source = StateSource(pod=A, incarnation=A1, data=f"data-{A}")
    kept = assignment(2, OTHER, sources=[source])
    assert pod.do("drop_confirmed", GUILD, kept, 2) == []
    assert kinds(pod.do("assignment_seen", GUILD, gone, 3)) == ["ConfirmDrop"]
    assert kinds(pod.do("drop_confirmed", GUILD, gone, 3)) == ["DropRows"]
    pod.do("dropped", GUILD)
    assert not pod.machine.guilds


@pytest.mark.parametrize(("found", "revision"), [(None, 0), (assignment(2, OTHER, **FOLLOWED), 1)])
def test_step_21_rows_are_kept_when_the_bucket_was_lost_and_does_not_say_to_drop_them(
    found: Assignment | None, revision: int
) -> None:
    pod = Driver(on_disk=[GUILD]).up()
    gone = assignment(2, OTHER)
    assert kinds(pod.do("assignment_seen", GUILD, gone, 900)) == ["ConfirmDrop"]
    assert pod.do("drop_confirmed", GUILD, found, revision) == []
    assert pod.machine.guilds[GUILD].phase == "kept"


def test_step_21_rows_whose_guild_has_no_assignment_are_kept() -> None:
    pod = Driver(on_disk=[GUILD]).up()
    assert "ConfirmDrop" not in kinds(pod.asked)
    assert "ConfirmDrop" not in kinds(pod.assign(None))


@pytest.mark.parametrize(
    "named",
    [
        assignment(2, (A, A1)),
        assignment(2, OTHER, follower=Holder(pod=A, incarnation=A1)),
        assignment(
            2,
            OTHER,
            joining=Joining(pod=A, incarnation=A1, purpose="own", cause="moved"),
        ),
    ],
)
def test_step_21_rows_that_an_earlier_start_of_the_pod_held_are_kept(named: Assignment) -> None:
    """Found by the simulation: a restarted pod dropped what it was about to be given again."""
    pod = Driver(incarnation=A2, on_disk=[GUILD]).up()
    assert "ConfirmDrop" not in kinds(pod.assign(named))


@pytest.mark.parametrize(
    "named",
    [
        assignment(2, (A, A1)),
        assignment(2, OTHER, follower=Holder(pod=A, incarnation=A1)),
        assignment(2, OTHER, joining=Joining(pod=A, incarnation=A1, purpose="own", cause="moved")),
    ],
)
def test_step_21_rows_are_kept_while_any_start_of_the_pod_is_named(named: Assignment) -> None:
    pod = Driver(incarnation=A2, on_disk=[GUILD]).up()
    assert "ConfirmDrop" not in kinds(pod.assign(named))


def test_step_23_without_a_leader_a_pod_takes_back_what_was_its_own() -> None:
    pod = Driver(incarnation=A2, on_disk=[GUILD]).up()
    pod.do("pod_seen", lease(A, A2), 9)
    pod.do("leader_seen")
    pod.assign(assignment(4, (A, A1), follower=Holder(pod=B, incarnation=B1)))
    pod.now_s += 4.0
    pod.do("renewed", pod.now_s, LINK)
    pod.now_s += 0.9
    assert "Readopt" not in kinds(pod.do("tick"))
    pod.now_s += 0.1
    (readopt,) = [c for c in pod.do("tick") if isinstance(c, ask.Readopt)]
    assert (readopt.revision, readopt.assignment.epoch) == (1, 5)
    assert readopt.assignment.incarnation == A2
    assert readopt.assignment.before == []  # it started again, and holds the lock
    assert readopt.assignment.former == Holder(pod=A, incarnation=A1)
    assert [change.epoch for change in readopt.assignment.unrecorded] == [4]  # for the history
    assert "Readopt" not in kinds(pod.do("tick"))
    pod.machine.readopt_failed(readopt.guild, readopt.revision)  # nobody answered
    assert "Readopt" in kinds(pod.do("tick"))


def test_step_23_a_leaders_lease_that_has_run_out_is_not_waited_for_again() -> None:
    pod = Driver(incarnation=A2, on_disk=[GUILD]).up()
    pod.do("pod_seen", lease(A, A2), 9)
    pod.do("leader_gone")
    pod.assign(assignment(4, (A, A1), follower=Holder(pod=B, incarnation=B1)))
    pod.now_s += 0.9
    assert "Readopt" not in kinds(pod.do("tick")), "another may be just being elected"
    pod.do("leader_seen")
    pod.now_s += 1.0
    assert "Readopt" not in kinds(pod.do("tick"))
    pod.do("leader_gone")
    assert pod.machine.wake_at_s(pod.now_s) <= pod.now_s + 1.0
    pod.now_s += 1.0
    assert "Readopt" in kinds(pod.do("tick"))


@pytest.mark.parametrize("owner", [OTHER, (A, A2)])
def test_step_23_what_is_not_its_own_or_is_already_is_not_taken(
    owner: tuple[PodId, Incarnation],
) -> None:
    pod = Driver(incarnation=A2, on_disk=[GUILD]).up()
    pod.assign(assignment(4, owner))
    pod.now_s += 4.0
    pod.do("renewed", pod.now_s, LINK)
    pod.now_s += 2.0
    assert "Readopt" not in kinds(pod.do("tick"))


def test_a_pod_that_stops_lets_go_of_everything_and_tells_when_it_is_done() -> None:
    pod = Driver().up().owns(assignment(1))
    asked = kinds(pod.do("stop"))
    assert asked[:1] == ["StopOwning"]
    assert "WriteReleased" in asked
    assert not pod.may(1)
    assert pod.machine.guilds[GUILD].owes
    pod.do("released_written", GUILD, Epoch(1))
    pod.do("effects_ended", GUILD, Epoch(1))
    pod.do("silent_written", GUILD, Epoch(1))
    assert pod.machine.done
    assert "Build" not in kinds(pod.assign(assignment(2)))


def test_step_15_the_assignments_are_read_once_at_a_time() -> None:
    """A slow bucket had dozens of reads under way, which made it slower."""
    pod = Driver().up()
    pod.do("bucket_end", 9)
    asked: list[str] = []
    for _ in range(10):
        pod.now_s += 0.4
        pod.do("renewed", pod.now_s, LINK)
        asked += kinds(pod.do("tick"))
    assert asked.count("ReadAssignments") <= 1
    assert kinds(pod.asked).count("ReadAssignments") == 2  # the first one, and this
    (again,) = pod.machine.not_read(LINK)
    assert isinstance(again, ask.ReadAssignments)
    pod.machine.assignments_read(LINK, {}, pod.now_s, end=9)
    pod.now_s += 0.4
    assert "ReadAssignments" not in kinds(pod.do("tick"))
