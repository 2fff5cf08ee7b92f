"""A storm is drawn from every fault of a single node, apart from pairs that cannot run together,
and excuses no more than its parts."""

import asyncio
import random
from typing import Any

import pytest

from components.chaos.arena import NotInTime, NotThere
from components.chaos.faults import orders, storm
from components.chaos.faults.storm import APART, FAULTS, Draws, together
from components.chaos.questions import Outage
from components.chaos.scenario import Fault
from components.chaos.scenarios import SCENARIOS
from components.chaos.window import Stopped
from contracts.ids import GuildId

STOPPED = Stopped(pod="gateway-0", incarnation="a-1", pid=7, what="PUT /x", woke_ms=3.0)


class Place:
    """What a storm needs of an arena: dice."""

    def __init__(self, seed: int = 1) -> None:
        self.dice = random.Random(seed)

    def of(self, whose: str) -> "Place":
        return self


def fault(words: str, **fields: Any) -> Fault:
    return Fault(words=words, **{"began_ms": 1.0, "guilds": frozenset(), **fields})


def test_every_scenario_of_a_single_node_is_in_the_storm() -> None:
    assert set(FAULTS) == set(SCENARIOS) - {"storm", "kill-nats-leader"}
    # Alone, a rolling restart also asks that gateways leave empty, which amid others it cannot.
    alike = FAULTS | {"rolling-restart": orders.rolling_restart}
    assert all(SCENARIOS[name].inject is inject for name, inject in alike.items())


def test_pairs_that_are_kept_apart_are_pairs_of_faults_with_a_reason() -> None:
    assert all(pair < set(FAULTS) and len(pair) == 2 and why for pair, why in APART.items())


@pytest.mark.parametrize("seed", range(50))
def test_what_is_drawn_may_run_together(seed: int) -> None:
    draws = Draws(random.Random(seed).sample(list(FAULTS), len(FAULTS)))
    drawn = []
    while (name := draws.draw()) is not None:
        drawn.append(name)
    assert len(drawn) == len(set(drawn)) > 10
    assert not any(pair <= set(drawn) for pair in APART)


def test_what_was_given_up_keeps_nothing_away() -> None:
    draws = Draws(["kill-pair", "kill-twice"])
    assert draws.draw() == "kill-pair"
    assert draws.draw() is None
    draws.give_up("kill-pair")
    assert draws.draw() == "kill-twice"


async def blow(monkeypatch: pytest.MonkeyPatch, **faults: Any) -> Fault:
    monkeypatch.setattr(storm, "FAULTS", faults)
    return await storm.storm(Place())  # type: ignore[arg-type]


async def strikes(arena: Any) -> Fault:
    return fault("it struck")


async def finds_nothing(arena: Any) -> Fault:
    raise NotThere("gateway-0 does not run")


async def test_another_fault_comes_in_the_place_of_one_that_finds_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = await blow(
        monkeypatch, a=strikes, b=finds_nothing, c=strikes, d=finds_nothing, e=strikes
    )
    assert sorted(done.struck) == ["a", "c", "e"]
    assert "b needs gateway-0 does not run" in done.words


async def test_a_storm_of_one_fault_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotThere, match=r"that did: a \(. needs gateway-0 does not run; "):
        await blow(monkeypatch, a=strikes, b=finds_nothing, c=finds_nothing)


async def test_a_fault_that_does_not_come_to_its_end_ends_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = asyncio.Event()

    async def late(arena: Any) -> Fault:
        raise NotInTime("not within 60 s: gateway-0 is started again")

    async def goes_on(arena: Any) -> Fault:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    with pytest.raises(ExceptionGroup) as raised:
        await blow(monkeypatch, a=late, b=goes_on, c=goes_on)
    assert raised.group_contains(NotInTime)
    assert ended.is_set()


def test_a_storm_excuses_what_its_faults_excuse_and_no_more() -> None:
    nats = Outage(from_ms=2.0, to_ms=9.0)
    done = together(
        [
            ("kill-nats", fault("n", outages=(nats,), guilds=frozenset({GuildId("1")}))),
            ("kill-shard", fault("s", began_ms=0.5, responders_down_ms=(4.0,))),
            ("stop-gateway", fault("g", stopped=(STOPPED,), guilds=frozenset({GuildId("2")}))),
        ]
    )
    assert done.outages == (nats,)
    assert done.responders_down_ms == (4.0,)
    assert done.stopped == (STOPPED,)
    assert done.guilds == {GuildId("1"), GuildId("2")}
    assert done.began_ms == 0.5
    assert done.struck == ("kill-nats", "kill-shard", "stop-gateway")
