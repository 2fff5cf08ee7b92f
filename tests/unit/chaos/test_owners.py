"""Acts of owners that were none any more are found; acts of owners are not."""

from typing import Any

import pytest

from components.chaos.clients import Asked
from components.chaos.owners import (
    Act,
    Opening,
    Places,
    acts,
    late_answers,
    openings,
    stale_acts,
    two_owners,
)
from components.chaos.probes import Answered
from components.chaos.watching import Fence
from components.simulator.record import Entry
from components.traffic.evidence import Cut, Evidence, LoggedItem, PublishedFact
from contracts.ids import Epoch, GuildId, Incarnation, PodId
from contracts.inputs import OwnerOpened

GUILD = GuildId("42")
OLD, NEW = ("gateway-0", "a-1"), ("gateway-1", "a-2")


def opening(epoch: int, who: tuple[str, str], at_ms: int, sequence: int | None = None) -> Opening:
    return Opening(
        epoch=epoch, pod=who[0], incarnation=who[1], sequence=sequence or at_ms, at_ms=at_ms
    )


def act(who: tuple[str, str], at_ms: float) -> Act:
    return Act(guild=GUILD, pod=who[0], incarnation=who[1], at_ms=at_ms, what="DELETE /x")


TAKEOVER = {GUILD: [opening(1, OLD, 1000), opening(2, NEW, 5000)]}


def found(
    *done: Act,
    fences: dict[tuple[str, str], Fence] | None = None,
    silences: dict[tuple[GuildId, int], float] | None = None,
) -> list[str]:
    return [one.words for one in stale_acts(done, TAKEOVER, fences or {}, silences or {})]


def test_each_owner_acting_in_its_turn_is_right() -> None:
    assert found(act(OLD, 2000), act(OLD, 5500), act(NEW, 6000), act(NEW, 9000)) == []


def test_an_act_after_one_of_a_later_epoch_is_stale() -> None:
    assert found(act(NEW, 6000), act(OLD, 6001)) == ["epoch 1, after an act of epoch 2"]


def test_an_act_of_a_process_that_never_opened_the_guild_is_stale() -> None:
    assert found(act(("gateway-2", "a-3"), 6000)) == ["its process had not opened the guild"]


def test_an_act_before_the_opening_is_stale() -> None:
    assert found(act(NEW, 4000)) == ["its process had not opened the guild"]


@pytest.mark.parametrize("ttl_s", [5.0, 12.0])
def test_an_act_is_stale_when_its_fence_is_older_than_the_holder_of_its_lease_may_act(
    ttl_s: float,
) -> None:
    fences = {OLD: Fence(seen_ms=5000.0, ttl_s=ttl_s)}
    last_ms = 5000 + (ttl_s - 0.5) * 1000
    assert found(act(OLD, last_ms), fences=fences) == []
    assert len(found(act(OLD, last_ms + 60), fences=fences)) == 1


def test_an_act_after_its_epochs_silence_is_stale() -> None:
    assert len(found(act(OLD, 5500), silences={(GUILD, 1): 5100.0})) == 1
    assert found(act(NEW, 5500), silences={(GUILD, 1): 5100.0}) == []


def test_an_owner_that_comes_back_acts_under_its_later_epoch() -> None:
    opened = {GUILD: [*TAKEOVER[GUILD], opening(3, OLD, 8000)]}
    assert stale_acts([act(NEW, 6000), act(OLD, 9000)], opened, {}, {}) == []


def rest(path: str, caller: str, method: str = "DELETE", at_ms: float = 1.0) -> Entry:
    data: dict[str, Any] = {"method": method, "path": path, "caller": caller, "status": 204}
    return Entry(n=int(at_ms), at_ms=at_ms, kind="rest", data=data)


def test_acts_are_the_gateways_calls_that_change_something_in_a_known_guild() -> None:
    ours = "DiscordBot (x, 1) gateway-0/a-1"
    record = [
        rest("/channels/7/messages/8", ours, at_ms=1),
        rest("/channels/7/messages/9/threads", ours, "POST", at_ms=2),
        rest("/channels/9/messages", ours, "POST", at_ms=3),
        rest("/guilds/42/members/5", ours, "PATCH", at_ms=4),
        rest("/guilds/42", ours, "GET", at_ms=5),
        rest("/channels/7/messages/8", "DiscordBot (x, 1)", at_ms=6),
        rest("/interactions/1/token/callback", ours, "POST", at_ms=7),
        rest("/webhooks/9/token/messages/@original", ours, "PATCH", at_ms=8),
    ]
    places = Places(guilds=frozenset({GUILD}), channels={"7": GUILD}, tokens={"token": GUILD})
    done, elsewhere = acts(record, places)
    assert [(one.guild, one.at_ms) for one in done] == [(GUILD, at) for at in (1, 2, 3, 4, 8)]
    assert elsewhere == 0
    assert {(one.pod, one.incarnation) for one in done} == {OLD}


def test_acts_that_name_no_guild_of_the_round_are_counted() -> None:
    ours = "DiscordBot (x, 1) gateway-0/a-1"
    record = [
        rest("/channels/8/messages/8", ours),
        rest("/guilds/43/members/5", ours, "PATCH"),
        rest("/webhooks/9/another/messages/@original", ours, "PATCH"),
        rest("/users/@me/channels", ours, "POST"),
    ]
    places = Places(guilds=frozenset({GUILD}), channels={"7": GUILD}, tokens={"token": GUILD})
    assert acts(record, places) == ([], 4)


def evidence(*opened: Opening, facts: tuple[PublishedFact, ...] = ()) -> Evidence:
    inputs = tuple(
        LoggedItem(
            guild=GUILD,
            sequence=one.sequence,
            stored_ms=one.at_ms,
            message_id="",
            traceparent="",
            body=OwnerOpened(
                epoch=Epoch(one.epoch),
                pod=PodId(one.pod),
                incarnation=Incarnation(one.incarnation),
                engine_version=1,
            ),
        )
        for one in opened
    )
    return Evidence(
        guilds=(GUILD,),
        cut=Cut(record=0, inputs={}),
        record=(),
        inputs=inputs,
        facts=facts,
        mod_logs={},
    )


def fact(stream_sequence: int, epoch: int) -> PublishedFact:
    return PublishedFact(
        guild=GUILD,
        stream_sequence=stream_sequence,
        input_sequence=stream_sequence,
        index=0,
        id=f"{stream_sequence}",
        type="x",
        data=b"",
        epoch=epoch,
    )


def answered(epoch: int, applied: int) -> Answered:
    return Answered(guild=GUILD, asked_ms=0, at_ms=0, epoch=epoch, applied=applied)


def test_a_takeover_is_not_two_owners() -> None:
    seen = evidence(*TAKEOVER[GUILD], facts=(fact(1, 1), fact(2, 2)))
    assert two_owners(seen, openings(seen), [answered(1, 4999), answered(2, 5000)], []) == []


def test_a_beginning_behind_a_later_one_is_a_word_too_late_if_nothing_follows_it() -> None:
    late = evidence(opening(2, NEW, 1000), opening(1, OLD, 2000), facts=(fact(1, 2),))
    assert two_owners(late, openings(late), [answered(2, 2500)], []) == []


def test_an_owner_that_says_twice_that_it_began_began_before() -> None:
    seen = evidence(
        opening(1, OLD, 500), opening(2, NEW, 1000), opening(1, OLD, 2000), facts=(fact(1, 1),)
    )
    assert two_owners(seen, openings(seen), [answered(1, 700)], []) == []


@pytest.mark.parametrize(
    ("seen", "answers"),
    [
        (evidence(opening(1, OLD, 1000), opening(1, NEW, 2000)), []),
        (evidence(opening(2, NEW, 1000), opening(1, OLD, 2000), facts=(fact(1, 1),)), []),
        (evidence(opening(2, NEW, 1000), opening(1, OLD, 2000)), [answered(1, 500)]),
        (evidence(*TAKEOVER[GUILD], facts=(fact(1, 2), fact(2, 1))), []),
        (evidence(*TAKEOVER[GUILD]), [answered(1, 5000)]),
    ],
)
def test_each_kind_of_two_owners_is_found(seen: Evidence, answers: list[Answered]) -> None:
    assert len(two_owners(seen, openings(seen), answers, [])) == 1


def test_a_write_that_an_earlier_epoch_acknowledged_behind_a_later_one_is_two_owners() -> None:
    seen = evidence(*TAKEOVER[GUILD])
    write = Asked(
        kind="write",
        guild=GUILD,
        client="writer",
        via="bus",
        began_ms=0,
        ended_ms=0,
        served=True,
        attempts=1,
        epoch=1,
        applied=5001,
    )
    assert len(two_owners(seen, openings(seen), [], [write])) == 1


def late(
    answer: Answered,
    *writes: Asked,
    fences: dict[tuple[str, str], Fence] | None = None,
    silences: dict[tuple[GuildId, int], float] | None = None,
) -> list[str]:
    return late_answers([answer], writes, TAKEOVER, fences or {}, silences or {})


def at(asked_ms: float, epoch: int = 1) -> Answered:
    return Answered(guild=GUILD, asked_ms=asked_ms, at_ms=asked_ms + 9000, epoch=epoch, applied=9)


def test_an_owner_that_answers_after_its_silence_what_was_asked_after_it_is_one_too_many() -> None:
    silences = {(GUILD, 1): 5100.0}
    (words,) = late(at(5500), silences=silences)
    assert words == "guild 42: an answer at epoch 1, asked 400 ms after epoch 1 was declared silent"
    assert late(at(5100), silences=silences) == []  # the answer may have been long on its way
    assert late(at(5500, epoch=2), silences=silences) == []


def test_an_owner_that_was_fenced_answers_no_longer_than_its_lease_may_have_lasted() -> None:
    fences = {OLD: Fence(seen_ms=5000.0, ttl_s=5.0)}
    assert late(at(9500), fences=fences) == []
    assert len(late(at(9600), fences=fences)) == 1
    assert late(at(9600, epoch=2), fences=fences) == []


def test_until_then_a_reply_of_the_earlier_owner_is_behind_and_not_wrong() -> None:
    assert late(at(6000)) == []


def test_a_clients_answer_is_held_against_its_owners_silence_too() -> None:
    write = Asked(
        kind="write",
        guild=GUILD,
        client="writer",
        via="bus",
        began_ms=6000,
        served=True,
        epoch=1,
    )
    assert len(late(at(0), write, silences={(GUILD, 1): 5100.0})) == 1
