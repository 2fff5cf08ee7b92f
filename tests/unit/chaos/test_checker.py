"""Every kind of violation is found where it is planted, and nothing in a history that is right."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec
import pytest

from components.chaos.backups import Backups, behind, shared
from components.chaos.checker import History, check_round, nothing_checked
from components.chaos.clients import Asked
from components.chaos.oracle import Held, Replayed
from components.chaos.probes import Answered, ProbePost
from components.chaos.scenario import STRIKES
from components.chaos.states import lagging
from components.chaos.watching import Fence
from components.chaos.window import Stopped
from components.gateway.engine.effects import DeleteMessage
from components.simulator.record import Entry
from components.traffic.evidence import Cut, Evidence, LoggedItem, PublishedFact
from contracts.facts import CaseOpened, CaseUpdated, MessageFlagged
from contracts.ids import (
    CaseNumber,
    ChannelId,
    Epoch,
    GuildId,
    Incarnation,
    MessageId,
    PodId,
    RequestId,
    Sequence,
    SessionId,
    UserId,
)
from contracts.inputs import (
    Actor,
    AnyInput,
    CommandReceived,
    DiscordDispatch,
    EffectResult,
    OwnerOpened,
    TimerFired,
)
from contracts.message import encode

GUILD = GuildId("42")
CALLER = "DiscordBot (x, 1) gateway-0/a-1"


def item(sequence: int, body: AnyInput, name: str = "") -> LoggedItem:
    return LoggedItem(
        guild=GUILD,
        sequence=sequence,
        stored_ms=1000 + sequence,
        message_id=name or f"id:{sequence}",
        traceparent="",
        body=body,
    )


def entry(n: int, kind: str, **data: Any) -> Entry:
    return Entry(n=n, at_ms=2000 + n, kind=kind, data=data)


INPUTS = (
    item(
        1,
        OwnerOpened(
            epoch=Epoch(1),
            pod=PodId("gateway-0"),
            incarnation=Incarnation("a-1"),
            engine_version=1,
        ),
    ),
    item(
        2,
        DiscordDispatch(
            session=SessionId("s"),
            shard=0,
            sequence=5,
            event="MESSAGE_CREATE",
            data=msgspec.Raw(b'{"id":"99"}'),
        ),
        "dsp:s:5",
    ),
    item(3, EffectResult(sequence=Sequence(2), index=0, outcome="done")),
    item(
        4,
        CommandReceived(
            request_id=RequestId("w1"),
            verb="settings.put",
            actor=Actor(kind="operator", id="writer"),
            arguments=msgspec.Raw(b"{}"),
        ),
    ),
    item(5, TimerFired(timer="a.timer", armed_by=Sequence(2))),
)
RECORD = (
    entry(1, "dispatch", session="s", seq=5, event="MESSAGE_CREATE", guild_id="42"),
    entry(
        2,
        "rest",
        method="DELETE",
        path="/channels/7/messages/99",
        status=204,
        caller=CALLER,
    ),
)
FACT = PublishedFact(
    guild=GUILD,
    stream_sequence=1,
    input_sequence=2,
    index=0,
    id="42-2-0",
    type="some.fact",
    data=b"{}",
    epoch=1,
)


def asked(kind: str, at_ms: float, **changes: Any) -> Asked:
    given = {
        "kind": kind,
        "guild": GUILD,
        "client": "writer",
        "via": "edge-0",
        "began_ms": at_ms,
        "ended_ms": at_ms,
        "served": True,
        "attempts": 1,
        "epoch": 1,
        "applied": 4,
        "version": 1,
        **changes,
    }
    return Asked(**given)


WRITE = asked("write", 1, request="w1")
DELETE = DeleteMessage(channel=ChannelId("7"), message=MessageId("99"), reason="spam")
READ = asked("read", 2, min_applied=4)
REPLAYED = Replayed(
    dump=b"rows",
    dumps={4: b"rows"},
    facts={(2, 0, "some.fact")},
    effects={(2, 0): DELETE},
    applied=4,
    last=5,
    timers={(2, "a.timer"), (5, "a.timer")},
)
EVIDENCE = Evidence(
    guilds=(GUILD,),
    cut=Cut(record=10, inputs={GUILD: 4}),
    record=RECORD,
    inputs=INPUTS,
    facts=(FACT,),
    mod_logs={},
)
OWNED = Held(pod="gateway-0", sequence=4, dump=b"rows", role="owner")
FOLLOWED = Held(pod="gateway-1", sequence=4, dump=b"rows", role="follower")
IN_REPLICA = Held(pod="the replica of gateway-0", sequence=4, dump=b"rows", role="replica")
BY_HISTORY = (
    "inputs",
    "effects",
    "effects_shown",
    "facts",
    "requests",
    "timers",
    "acts",
    "writes",
    "states_of_owners",
    "states_of_followers",
    "states_of_replicas",
    "replicas",
    "openings",
)
"""What of a round's exercise shows in this history."""
RIGHT = History(
    evidence=EVIDENCE,
    posted=(),
    probe_posts=(ProbePost(guild=GUILD, message="99", posted_ms=1),),
    answers=(),
    asked=(WRITE, READ),
    shown=(),
    down=(),
    replays={GUILD: REPLAYED},
    held={GUILD: (OWNED, FOLLOWED)},
    backups=Backups(restored=1, held={GUILD: [IN_REPLICA]}, failures=[]),
    guild_of_channel={"7": GUILD},
)


def test_a_follower_that_stands_still_is_seen_though_what_it_has_is_right() -> None:
    guild = GuildId("1")
    left = Held(pod="gateway-2", sequence=2, dump=b"rows", role="left")
    held = {guild: [OWNED, msgspec.structs.replace(FOLLOWED, sequence=3), left]}
    words = "guild 1: its follower gateway-1 stands at 3, not at 4"
    assert lagging(held, {guild: 4}) == [words]
    assert lagging(held, {guild: 3}) == []


def changed(**fields: Any) -> History:
    return msgspec.structs.replace(RIGHT, **fields)


def evidence(**fields: Any) -> History:
    return changed(evidence=msgspec.structs.replace(EVIDENCE, **fields))


def without(sequence: int) -> tuple[LoggedItem, ...]:
    return tuple(one for one in INPUTS if one.sequence != sequence)


def test_a_history_that_is_right_has_no_violation_and_everything_was_checked() -> None:
    checked, found = check_round(RIGHT)
    assert found.total == 0, found
    assert nothing_checked(checked, BY_HISTORY) == []
    assert (checked.states_of_owners, checked.states_of_followers) == (1, 1)
    assert (checked.states_of_replicas, checked.states_left) == (1, 0)


def test_a_round_in_which_nothing_happened_says_so() -> None:
    empty = evidence(record=(), inputs=(), facts=())
    nothing = Backups(restored=0, held={}, failures=[])
    checked, _ = check_round(
        msgspec.structs.replace(empty, asked=(), replays={}, held={}, backups=nothing)
    )
    assert nothing_checked(checked, STRIKES) == [f"no {name} were checked" for name in STRIKES]


def replayed(**fields: Any) -> History:
    return changed(replays={GUILD: msgspec.structs.replace(REPLAYED, **fields)})


PLANTED: dict[str, Callable[[], History]] = {
    "inputs_lost": lambda: evidence(inputs=without(2)),
    "inputs_doubled": lambda: evidence(inputs=(*INPUTS, item(5, INPUTS[1].body, "dsp:s:5"))),
    "effects_lost": lambda: evidence(inputs=without(3)),
    "effects_doubled": lambda: evidence(
        record=(
            *RECORD,
            entry(
                3, "message_create", nonce="n", content="", channel_id="7", author_id="1", id="1"
            ),
            entry(
                4, "message_create", nonce="n", content="", channel_id="7", author_id="1", id="2"
            ),
        )
    ),
    "effects_stale_owner": lambda: evidence(
        record=(
            RECORD[0],
            entry(
                2,
                "rest",
                method="DELETE",
                path="/channels/7/messages/99",
                status=204,
                caller=CALLER.replace("a-1", "a-2"),
            ),
        )
    ),
    "facts_doubled": lambda: evidence(
        facts=(FACT, msgspec.structs.replace(FACT, stream_sequence=2))
    ),
    "facts_missing": lambda: evidence(facts=()),
    "facts_out_of_order": lambda: evidence(
        facts=(
            msgspec.structs.replace(FACT, stream_sequence=2),
            msgspec.structs.replace(FACT, stream_sequence=1, input_sequence=3, id="42-3-0"),
        )
    ),
    "acked_writes_missing": lambda: evidence(inputs=without(4)),
    "own_write_unseen": lambda: changed(asked=(WRITE, msgspec.structs.replace(READ, version=0))),
    "two_owners": lambda: evidence(
        facts=(FACT, msgspec.structs.replace(FACT, stream_sequence=2, id="x", index=1, epoch=0))
    ),
    "state_differs": lambda: changed(
        held={GUILD: (OWNED, msgspec.structs.replace(FOLLOWED, dump=b"other rows"))}
    ),
    "requests_failed": lambda: changed(
        asked=(WRITE, msgspec.structs.replace(READ, served=False, words="503"))
    ),
    "not_settled": lambda: changed(unsettled=("guild 42: 1 effects pending",)),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_each_kind_of_violation_is_found(kind: str) -> None:
    _, found = check_round(PLANTED[kind]())
    assert getattr(found, kind), found


def test_an_effect_that_the_log_asks_for_and_nobody_settled_is_lost() -> None:
    _, found = check_round(replayed(effects={(2, 0): DELETE, (2, 1): DELETE}))
    assert found.effects_lost == ["effect 2/1 (message.delete) of guild 42 has no result"]


def test_an_effect_that_is_done_by_its_result_alone_is_lost() -> None:
    another = msgspec.structs.replace(DELETE, message=MessageId("98"))
    _, found = check_round(replayed(effects={(2, 0): another}))
    assert len(found.effects_lost) == 1
    assert found.effects_lost[0].endswith("is done, and Discord's record does not show it")


def test_an_effect_that_was_done_and_that_the_log_does_not_ask_for_is_one_too_many() -> None:
    _, found = check_round(replayed(effects={}))
    assert found.effects_doubled == ["effect 2/0 of guild 42 derives from no input"]


def test_a_question_that_an_edge_deferred_and_that_is_not_on_the_log_is_lost() -> None:
    shown = {
        "id": "7",
        "guild_id": GUILD,
        "token": "t",
        "answered_over": "http",
        "answer": 5,
        "failure": None,
        "loading": False,
        "messages": [{}],
    }
    created = entry(3, "interaction", what="created", id="7")
    history = msgspec.structs.replace(evidence(record=(*RECORD, created)), shown=[shown])
    _, found = check_round(history)
    assert found.inputs_lost == ["interaction 7 of guild 42 is not on the log"]
    edge_answered = msgspec.structs.replace(history, shown=[{**shown, "answer": 4}])
    assert check_round(edge_answered)[1].inputs_lost == []


def test_a_timer_that_was_pending_at_the_cut_and_did_not_fire_is_lost() -> None:
    _, found = check_round(replayed(timers={(2, "a.timer"), (4, "another")}))
    assert found.inputs_lost == ["timer another of guild 42, armed by 4, has not fired"]


def test_a_timer_that_was_armed_anew_before_it_fired_is_not_lost() -> None:
    _, found = check_round(replayed(timers={(1, "a.timer"), (2, "a.timer")}))
    assert found.total == 0, found


def test_a_timer_that_fires_again_under_another_id_is_doubled() -> None:
    _, found = check_round(evidence(inputs=(*INPUTS, item(6, INPUTS[4].body))))
    assert len(found.inputs_doubled) == 1
    assert "fired again at 6" in found.inputs_doubled[0]


def test_a_timer_that_was_armed_behind_what_was_replayed_is_right() -> None:
    fired = item(7, TimerFired(timer="a.timer", armed_by=Sequence(6)))
    _, found = check_round(evidence(inputs=(*INPUTS, fired)))
    assert found.total == 0, found


def test_a_timer_that_nothing_armed_is_one_too_many() -> None:
    _, found = check_round(replayed(timers=set()))
    assert len(found.inputs_doubled) == 1
    assert "nothing had armed it" in found.inputs_doubled[0]


def test_rows_at_a_place_where_no_input_is_differ() -> None:
    ahead = msgspec.structs.replace(FOLLOWED, sequence=3)
    _, found = check_round(changed(held={GUILD: (OWNED, ahead)}))
    assert found.state_differs == ["guild 42: gateway-1 is at 3, where no input is"]


@pytest.mark.parametrize("role", ["owner", "follower"])
def test_a_guild_needs_the_rows_of_its_owner_and_of_its_follower(role: str) -> None:
    held = tuple(one for one in (OWNED, FOLLOWED) if one.role != role)
    _, found = check_round(changed(held={GUILD: held}))
    assert found.state_differs == [f"guild 42: its {role} has no rows"]


def test_a_replica_of_a_guild_that_was_just_begun_holds_nothing_of_it() -> None:
    begun = msgspec.structs.replace(IN_REPLICA, sequence=0, dump=b"an empty guild")
    checked, found = check_round(
        changed(backups=Backups(restored=1, held={GUILD: [begun]}, failures=[]))
    )
    assert (checked.states_of_replicas, found.state_differs) == (0, [])


@pytest.mark.parametrize(("role", "wrong"), [("left", 0), ("follower", 1)])
def test_a_pod_holds_nothing_of_a_guild_that_it_has_just_begun(
    role: Literal["left", "follower"], wrong: int
) -> None:
    begun = Held(pod="gateway-2", sequence=0, dump=b"an empty guild", role=role)
    _, found = check_round(changed(held={GUILD: (OWNED, FOLLOWED, begun)}))
    assert len(found.state_differs) == wrong, found.state_differs


def test_a_restored_replica_that_differs_is_found() -> None:
    other = msgspec.structs.replace(IN_REPLICA, dump=b"other rows")
    backups = Backups(restored=1, held={GUILD: [other]}, failures=[])
    _, found = check_round(changed(backups=backups))
    assert len(found.state_differs) == 1
    assert "the replica of gateway-0 (replica)" in found.state_differs[0]


def test_a_removal_that_failed_as_its_case_says_is_lost() -> None:
    user, number = UserId("9"), CaseNumber(1)
    told = (
        MessageFlagged(
            user=user,
            channel=ChannelId("7"),
            message=MessageId("98"),
            tier="medium",
            score=10,
            signals=[],
        ),
        CaseOpened(
            number=number,
            user=user,
            action="delete_message",
            status="pending",
            moderator_kind="bot",
        ),
        CaseUpdated(
            number=number,
            user=user,
            action="delete_message",
            status="failed",
            error="message.delete: refused",
        ),
    )
    facts = tuple(
        msgspec.structs.replace(
            FACT, stream_sequence=index + 1, index=index, type=one.type, data=encode(one)
        )
        for index, one in enumerate(told)
    )
    checked, found = check_round(evidence(facts=facts, mod_logs={GUILD: "50"}))
    assert found.effects_lost == [
        "report on message 98 of guild 42",
        "1 removals failed, as their cases say",
    ]
    assert (checked.removals, checked.reports) == (1, 1)


def test_every_zero_names_over_how_many_items_it_is_one() -> None:
    answer = Answered(guild=GUILD, asked_ms=1, at_ms=2, epoch=1, applied=4)
    calls = [
        entry(3, "rest", method=method, path=f"/guilds/42/{of}/5", status=204, reason="case #1")
        for method, of in (("PUT", "bans"), ("DELETE", "members"))
    ]
    said = entry(4, "message_create", nonce="n", content="", channel_id="7", author_id="1", id="1")
    history = msgspec.structs.replace(
        evidence(record=(*RECORD, *calls, said)),
        answers=[answer],
        fences={("gateway-0", "a-1"): Fence(seen_ms=9000.0, ttl_s=5.0)},
        silences={(GUILD, 1): 9000.0, (GuildId("7"), 1): 9000.0},
    )
    checked, found = check_round(history)
    assert found.total == 0, found
    assert (checked.requests, checked.probe_answers) == (2, 1)
    assert (checked.bans, checked.kicks, checked.nonces) == (1, 1, 1)
    assert (checked.fences, checked.silences) == (1, 1)


def test_an_answer_of_an_owner_that_was_silent_when_it_was_asked_is_two_owners() -> None:
    answer = Answered(guild=GUILD, asked_ms=5000, at_ms=5001, epoch=1, applied=4)
    late = msgspec.structs.replace(changed(answers=[answer]), silences={(GUILD, 1): 4000.0})
    _, found = check_round(late)
    assert found.two_owners == [
        "guild 42: an answer at epoch 1, asked 1000 ms after epoch 1 was declared silent"
    ]


STALE = {"incarnation": "a-2", "what": "DELETE /channels/7/messages/99", "at_ms": 2002.0}
"""The act in `PLANTED["effects_stale_owner"]`."""


def stopped(**fields: Any) -> Stopped:
    given = {
        "pod": "gateway-0",
        "incarnation": STALE["incarnation"],
        "pid": 7,
        "what": STALE["what"],
        "woke_ms": 2000.0,
        **fields,
    }
    return Stopped(**given)


def after(*stops: Stopped) -> tuple[int, int]:
    """How many calls were in the window, and how many stale."""
    stale = msgspec.structs.replace(PLANTED["effects_stale_owner"](), stopped=stops)
    checked, found = check_round(stale)
    return checked.in_window, len(found.effects_stale_owner)


def test_the_request_of_a_process_stopped_between_gate_and_socket_is_counted_apart() -> None:
    assert after(stopped()) == (1, 0)
    assert after(stopped(), stopped()) == (1, 0)


@pytest.mark.parametrize(
    "other",
    [
        {"what": "DELETE /channels/7/messages/98"},
        {"what": "PUT /channels/7/messages/99"},
        {"incarnation": "a-1"},
        {"pod": "gateway-1"},
        {"woke_ms": 2003.0},
        {"woke_ms": 1001.0},
    ],
)
def test_any_other_call_of_a_process_that_was_stopped_is_stale(other: dict[str, Any]) -> None:
    assert after(stopped(**other)) == (0, 1)


def test_what_left_a_stopped_process_doubles_no_ban() -> None:
    ban = {"method": "PUT", "path": "/guilds/42/bans/5", "status": 204, "reason": "case 1"}
    late = {**ban, "caller": CALLER.replace("a-1", "a-2")}
    doubled = evidence(
        record=(*RECORD, entry(8, "rest", caller=CALLER, **ban), entry(9, "rest", **late))
    )
    _, found = check_round(doubled)
    assert found.effects_doubled == ["PUT /guilds/42/bans/5 (case 1) x2"]
    at_ms = doubled.evidence.record[-1].at_ms
    stop = stopped(what="PUT /guilds/42/bans/5", woke_ms=at_ms - 1)
    checked, found = check_round(msgspec.structs.replace(doubled, stopped=(stop,)))
    assert (checked.in_window, checked.bans, found.effects_doubled) == (1, 1, [])


def test_each_stop_explains_one_call() -> None:
    stale = PLANTED["effects_stale_owner"]()
    twice = (*stale.evidence.record, msgspec.structs.replace(stale.evidence.record[1], n=3))
    history = msgspec.structs.replace(
        stale,
        evidence=msgspec.structs.replace(stale.evidence, record=twice),
        stopped=(stopped(),),
    )
    checked, found = check_round(history)
    assert (checked.in_window, len(found.effects_stale_owner)) == (1, 1)


def test_a_path_that_two_pods_replicate_to_is_a_finding_whatever_lies_there() -> None:
    own = {"gateway-0": "pods/gateway-0/i-1", "gateway-1": "pods/gateway-1/i-2"}
    assert shared(own) == []
    (words,) = shared({**own, "gateway-2": "pods/gateway-0/i-1"})
    assert words.startswith("gateway-0 and gateway-2 replicate to one path (pods/gateway-0/i-1)")


def test_a_replica_holds_what_was_to_be_there_at_least_as_far() -> None:
    one, two, three = GuildId("1"), GuildId("2"), GuildId("3")
    wanted = {one: 5, two: 5, three: 5}
    assert behind(wanted, {one: 5, two: 6, three: 5, GUILD: 1}) == []
    assert behind(wanted, {one: 5, two: 4}) == [
        "is at 4 of guild 2, 5 was to be there",
        "lacks guild 3",
    ]
