"""What is an alarm, and what is none."""

from typing import Any

import pytest

from components.bus.stream_info import Copy, StreamInfo
from components.config.alarms import Board, Change, Found, Limits, PodSight, Sight, find, nodes
from components.config.settings import ConfigSettings
from contracts import storage
from contracts.ids import GuildId, PodId, Sequence

DEFAULTS = ConfigSettings(database_url="postgresql://")
LIMITS = Limits(
    full=DEFAULTS.alarm_full,
    full_critical=DEFAULTS.alarm_full_critical,
    lag_s=DEFAULTS.alarm_lag_s,
    age_s=DEFAULTS.alarm_age_s,
    retention=DEFAULTS.alarm_retention,
)
NOW_MS = 1_764_000_000_000
HOUR_S = 3600
GIB = 2**30


def info(name: str = storage.INPUTS, **changes: Any) -> StreamInfo:
    values = {
        "now_ms": NOW_MS,
        "size": GIB,
        "max_size": 4 * GIB,
        "max_age_s": 72.0 * HOUR_S,
        "refuses_when_full": True,
        "first": 5_000,
        "last": 90_000,
        "first_ms": NOW_MS - 71 * HOUR_S * 1000,
        **changes,
    }
    return StreamInfo(name=name, **values)


def pod(**changes: Any) -> PodSight:
    """A pod whose backup is a second behind."""
    values = {
        "here": True,
        "backed_up": True,
        "started_ms": NOW_MS - 100 * HOUR_S * 1000,
        "mark": 89_990,
        "complete_up_to": 89_995,
        "lag_s": 0.4,
        "unmarked_ms": NOW_MS - 1000,
        **changes,
    }
    return PodSight(pod=PodId("gateway-1"), **values)


def before(seconds: float) -> int:
    """So long ago."""
    return NOW_MS - int(seconds * 1000)


def found(*pods: PodSight, **inputs: Any) -> list[Found]:
    return find(Sight(streams={storage.INPUTS: info(**inputs)}, pods=list(pods)), LIMITS)


def only(all_found: list[Found]) -> Found:
    (one,) = all_found
    return one


def test_a_parked_guild_is_an_alarm_that_says_how_it_goes_on() -> None:
    parked = {GuildId("42"): Sequence(7), GuildId("43"): Sequence(9)}
    alarms = find(Sight(streams={}, pods=[], parked=parked), LIMITS)
    assert [(alarm.name, alarm.severity, alarm.about) for alarm in alarms] == [
        ("parked", "critical", "42"),
        ("parked", "critical", "43"),
    ]
    assert "modbot guild 42 skip 7 --reason" in alarms[0].text


def test_guilds_that_their_pod_does_not_open_are_one_alarm_that_says_why() -> None:
    unopened = {PodId("gateway-1"): {GuildId("42"): "the log is lost", GuildId("43"): ""}}
    alarm = only(find(Sight(streams={}, pods=[], unopened=unopened), LIMITS))
    assert (alarm.name, alarm.severity, alarm.about) == ("unopened", "critical", "gateway-1")
    assert "2 guilds are not served by gateway-1" in alarm.text
    assert "42: the log is lost" in alarm.text


def test_nothing_is_wrong_while_backups_and_log_are_as_usual() -> None:
    assert found(pod(), pod(unmarked_ms=None)) == []


@pytest.mark.parametrize(
    ("share", "severity"), [(0.74, None), (0.76, "warning"), (0.91, "critical"), (1.0, "critical")]
)
def test_a_log_that_fills_is_an_alarm_that_says_how_full_it_is(
    share: float, severity: str | None
) -> None:
    alarms = found(size=int(share * 4 * GIB))
    assert [(one.name, one.severity) for one in alarms] == (
        [("stream-full", severity)] if severity else []
    )
    for one in alarms:
        assert f"INPUTS is {share:.0%} full" in one.text
        assert "71 h old and goes after 72 h" in one.text


@pytest.mark.parametrize("changes", [{"refuses_when_full": False}, {"max_size": 0}])
def test_a_stream_that_refuses_nothing_may_be_full(changes: dict[str, Any]) -> None:
    assert found(size=4 * GIB, **changes) == []


def test_a_bucket_that_fills_is_an_alarm_too() -> None:
    bucket = info("KV_handoffs", size=95 * 2**20, max_size=100 * 2**20, max_age_s=0.0)
    one = only(find(Sight(streams={"KV_handoffs": bucket}, pods=[]), LIMITS))
    assert (one.name, one.about, one.severity) == ("stream-full", "KV_handoffs", "critical")
    assert "95.0 MiB of 100.0 MiB" in one.text


def test_a_stream_that_does_not_answer_is_critical_and_nothing_is_said_of_pods() -> None:
    sight = Sight(streams={storage.INPUTS: None}, pods=[pod(lag_s=1e6)])
    one = only(find(sight, LIMITS))
    assert (one.name, one.severity, one.about) == ("stream-away", "critical", storage.INPUTS)


def test_a_commit_that_is_not_in_the_bucket_for_long_is_an_alarm() -> None:
    one = only(found(pod(lag_s=61.0)))
    assert (one.name, one.severity, one.about) == ("backup-lag", "warning", "gateway-1")
    assert "61 s old" in one.text


def test_the_lag_that_a_pod_told_before_it_went_away_says_nothing_of_now() -> None:
    assert found(pod(lag_s=61.0, here=False)) == []


def test_a_pod_without_a_backup_has_no_lag() -> None:
    assert found(pod(lag_s=61.0, backed_up=False)) == []


@pytest.mark.parametrize(
    ("age_s", "severity"),
    [(599, None), (601, "warning"), (35 * HOUR_S, "warning"), (37 * HOUR_S, "critical")],
)
def test_the_age_of_an_input_that_no_mark_covers_is_the_alarm(
    age_s: int, severity: str | None
) -> None:
    alarms = found(pod(unmarked_ms=before(age_s)))
    assert [(one.name, one.severity) for one in alarms] == (
        [("mark-age", severity)] if severity else []
    )


def test_a_mark_that_moves_on_the_disk_alone_points_at_the_bucket() -> None:
    one = only(found(pod(unmarked_ms=before(HOUR_S), complete_up_to=89_999)))
    assert "the bucket does not take it" in one.text
    assert "60 min old, and the log drops it after 72 h" in one.text


@pytest.mark.parametrize("backed_up", [True, False])
def test_a_mark_that_stands_on_the_disk_too_points_at_a_guild(backed_up: bool) -> None:
    still = pod(unmarked_ms=before(HOUR_S), complete_up_to=89_990, backed_up=backed_up)
    assert "a guild of the pod does not get on" in only(found(still)).text


def test_a_quiet_log_is_no_alarm_however_old_the_mark_is() -> None:
    assert found(pod(mark=90_000, unmarked_ms=None), first=90_001) == []


def test_a_mark_before_the_beginning_of_the_log_is_a_hole() -> None:
    one = only(found(pod(mark=4_998, unmarked_ms=before(71 * HOUR_S))))
    assert (one.name, one.severity) == ("mark-hole", "critical")
    assert "complete up to 4998, and the log begins at 5000" in one.text
    covered = found(pod(mark=4_999, unmarked_ms=before(71 * HOUR_S)))
    assert [each.name for each in covered] == ["mark-age"]


def test_a_start_without_a_mark_counts_from_when_it_started() -> None:
    """Until then the replica of the start before it is still a source."""
    old = before(71 * HOUR_S)
    assert found(pod(mark=0, unmarked_ms=old, started_ms=before(60))) == []
    never = only(found(pod(mark=0, unmarked_ms=old, started_ms=before(40 * HOUR_S))))
    assert (never.name, never.severity) == ("mark-age", "critical")
    assert "40 h old" in never.text


def test_a_pod_that_is_away_is_named_so() -> None:
    one = only(found(pod(here=False, unmarked_ms=before(HOUR_S))))
    assert "gateway-1 (away)" in one.text


def test_a_log_that_keeps_all_never_makes_an_age_critical() -> None:
    one = only(found(pod(unmarked_ms=before(1000 * HOUR_S)), max_age_s=0.0))
    assert one.severity == "warning"


def cluster_of(*copies: Copy, leader: str = "nats-0", name: str = storage.INPUTS) -> StreamInfo:
    return info(name, leader=leader, copies=list(copies))


def test_nodes_are_shown_with_what_they_lead_and_where_they_are_behind() -> None:
    shown = nodes(
        [
            cluster_of(Copy(name="nats-1", current=True), Copy(name="nats-2", offline=True)),
            cluster_of(
                Copy(name="nats-0", current=False),
                Copy(name="nats-2", offline=True),
                leader="nats-1",
                name="KV_guilds",
            ),
            None,
        ]
    )
    assert [(node.name, node.leads, node.behind, node.away) for node in shown] == [
        ("nats-0", ["INPUTS"], ["KV_guilds"], False),
        ("nats-1", ["KV_guilds"], [], False),
        ("nats-2", [], ["INPUTS", "KV_guilds"], True),
    ]


def test_a_single_server_has_no_nodes() -> None:
    assert nodes([info(), info(leader="nats"), info("KV_guilds", leader="nats")]) == []


def test_a_node_that_is_away_or_behind_is_one_alarm_however_many_streams_it_has() -> None:
    copies = (Copy(name="nats-1", current=False), Copy(name="nats-2", offline=True))
    streams = {name: cluster_of(*copies, name=name) for name in ("INPUTS", "KV_guilds")}
    alarms = find(Sight(streams=streams, pods=[]), LIMITS)
    assert [(one.name, one.about, one.severity) for one in alarms] == [
        ("node-behind", "nats-1", "warning"),
        ("node-away", "nats-2", "warning"),
    ]
    assert "2 streams (INPUTS, KV_guilds)" in alarms[0].text


def wrong(severity: Any = "warning", name: str = "stream-full") -> Found:
    return Found(name=name, severity=severity, about=storage.INPUTS, text=f"it is {severity}")


def words(changes: list[Change]) -> list[str]:
    return [f"{'over' if change.over else change.alarm.severity}" for change in changes]


class Looks:
    """A board that is looked at every 5 s."""

    def __init__(self) -> None:
        self.board = Board(after_s=15.0)
        self.now_s = 0.0

    def look(self, *found: Found) -> list[str]:
        self.now_s += 5.0
        return words(self.board.look(found, self.now_s, int(self.now_s * 1000)))


def test_what_is_seen_for_long_enough_stands_and_is_told_once() -> None:
    looks = Looks()
    told = [looks.look(wrong()) for _ in range(6)]
    assert told == [[], [], [], ["warning"], [], []]
    (alarm,) = looks.board.standing
    assert alarm.since_ms == 5_000


def test_what_comes_and_goes_is_no_alarm() -> None:
    looks = Looks()
    for _ in range(5):
        assert looks.look(wrong()) + looks.look(wrong()) + looks.look() == []
    assert looks.board.standing == []


def test_an_alarm_is_over_when_it_was_not_seen_for_as_long() -> None:
    looks = Looks()
    for _ in range(4):
        looks.look(wrong())
    assert looks.look() + looks.look() == []
    assert len(looks.board.standing) == 1
    assert looks.look() == ["over"]
    assert looks.board.standing == []
    assert looks.look() == []


def test_a_gap_of_one_look_does_not_begin_an_alarm_anew() -> None:
    looks = Looks()
    for _ in range(4):
        looks.look(wrong())
    assert looks.look() + looks.look(wrong()) == []
    assert looks.board.standing[0].since_ms == 5_000


def test_an_alarm_that_becomes_critical_is_told_again_and_comes_first() -> None:
    looks = Looks()
    other = wrong(name="backup-lag")
    for _ in range(4):
        looks.look(other, wrong())
    assert looks.look(other, wrong("critical")) == ["critical"]
    assert [alarm.severity for alarm in looks.board.standing] == ["critical", "warning"]
    assert looks.look(other, wrong()) == [], "that it is less bad is shown, not told"
