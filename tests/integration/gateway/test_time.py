"""What time does to effects and timers, with the clock in the test's hand."""

import asyncio

import msgspec

from components.gateway.engine.effects import AnyPayload, CreateMessage, DeleteMessage
from components.gateway.engine.model import ArmedTimer, Effect
from components.gateway.shell.effects.lanes import Lanes, Outlets
from components.gateway.shell.timers import Timers
from components.process.clock import steady_s, wall_ms
from contracts.ids import ChannelId, Epoch, MessageId, Sequence
from contracts.inputs import EffectResult, TimerFired
from tests.integration.gateway.desk import Desk
from tests.integration.gateway.town import until


def lanes_of(desk: Desk, *, later_ms: int = 0) -> Lanes:
    outlets = Outlets(
        bus=desk.bus,
        gate=desk.gate,
        rest=desk.rest,
        applier=desk.applier,
        spawn=asyncio.ensure_future,
        wall_ms=lambda: wall_ms() + later_ms,
    )
    return Lanes(outlets, desk.permit)


def removal(desk: Desk) -> AnyPayload:
    return DeleteMessage(
        channel=ChannelId(str(desk.town.channel)), message=MessageId("5"), reason="spam"
    )


async def results(desk: Desk, count: int) -> list[EffectResult]:
    async def there() -> list[EffectResult] | None:
        found = [item for item in await desk.town.inputs() if isinstance(item, EffectResult)]
        return found if len(found) >= count else None

    found: list[EffectResult] = await until(there)
    return found


async def test_an_effect_past_its_usefulness_expires_visibly(desk: Desk) -> None:
    lanes = lanes_of(desk, later_ms=2 * 86_400_000)
    lanes.add(desk.effect(removal(desk)), in_doubt=False)
    lanes.release()
    (result,) = await results(desk, 1)
    assert result.outcome == "expired"
    assert await desk.town.rest("DELETE", "/messages/") == []
    await lanes.close()


async def test_step_7_nothing_begins_before_the_guild_is_caught_up(desk: Desk) -> None:
    lanes = lanes_of(desk)
    lanes.add(desk.effect(removal(desk)), in_doubt=False)
    await asyncio.sleep(0.2)
    assert await desk.town.rest("DELETE", "/messages/") == []
    lanes.release()
    await results(desk, 1)
    await lanes.close()


async def test_an_effect_whose_result_is_on_the_log_already_is_not_attempted(
    desk: Desk,
) -> None:
    lanes = lanes_of(desk)
    first, second = desk.effect(removal(desk), 7), desk.effect(removal(desk), 8)
    lanes.add(first, in_doubt=True)
    lanes.add(second, in_doubt=True)
    lanes.settled((Sequence(7), 0))
    lanes.release()
    assert [result.sequence for result in await results(desk, 1)] == [8]
    assert len(await desk.town.rest("DELETE", "/messages/")) == 1
    await lanes.close()


async def test_what_cannot_be_understood_is_parked_and_the_lane_goes_on(desk: Desk) -> None:
    lanes = lanes_of(desk)
    broken: Effect = msgspec.structs.replace(desk.effect(removal(desk), 7), payload=b"{}")
    lanes.add(broken, in_doubt=False)
    lanes.add(desk.effect(removal(desk), 8), in_doubt=False)
    lanes.release()
    assert [result.outcome for result in await results(desk, 2)] == ["parked", "done"]
    await lanes.close()


async def test_step_4_a_result_is_reported_even_after_the_gate_has_closed(desk: Desk) -> None:
    lanes = lanes_of(desk)
    channel = ChannelId(str(desk.town.channel))
    control = desk.town.control
    await control.add_fault(path="*/messages", latency_ms=1000, count=None)

    async def asked() -> bool:
        return any(fault.hits for fault in await control.faults())

    lanes.add(
        desk.effect(CreateMessage(channel=channel, body={"content": "x"}, nonce="n")),
        in_doubt=False,
    )
    lanes.release()
    await until(asked)  # Discord has the request, and answers a second later
    desk.machine.lease.lose()
    (result,) = await results(desk, 1)
    assert result.outcome == "done"
    await lanes.close()


async def test_a_timer_fires_once_when_it_is_due(desk: Desk) -> None:
    now = wall_ms()
    timers = Timers(desk.bus, desk.gate, lambda: now)
    running = asyncio.create_task(timers.run())
    due = ArmedTimer(guild=desk.town.guild, timer="sweep", armed_by=Sequence(3), due_ms=now)
    later = ArmedTimer(
        guild=desk.town.guild, timer="later", armed_by=Sequence(3), due_ms=now + 60_000
    )
    timers.open(desk.permit, [later])
    timers.arm(due)

    async def fired() -> list[TimerFired]:
        return [item for item in await desk.town.inputs() if isinstance(item, TimerFired)]

    (first,) = await until(fired)
    assert (first.timer, first.armed_by) == ("sweep", 3)
    assert len(await fired()) == 1
    running.cancel()


async def test_only_the_last_arming_of_a_timer_fires(desk: Desk) -> None:
    now = wall_ms()
    timers = Timers(desk.bus, desk.gate, lambda: now)
    old, new = (
        ArmedTimer(guild=desk.town.guild, timer="sweep", armed_by=Sequence(n), due_ms=now - 1)
        for n in (3, 4)
    )
    timers.open(desk.permit, [old, new])
    running = asyncio.create_task(timers.run())

    async def fired() -> list[int]:
        return [item.armed_by for item in await desk.town.inputs() if isinstance(item, TimerFired)]

    assert await until(fired) == [4]
    running.cancel()


async def test_a_timer_whose_guild_is_not_ours_any_more_is_kept_back(desk: Desk) -> None:
    now = wall_ms()
    timers = Timers(desk.bus, desk.gate, lambda: now)
    desk.machine.epoch_on_log(desk.town.guild, Epoch(2), steady_s())
    timer = ArmedTimer(guild=desk.town.guild, timer="sweep", armed_by=Sequence(3), due_ms=now)
    timers.open(desk.permit, [timer])
    running = asyncio.create_task(timers.run())
    await asyncio.sleep(0.2)
    assert [item for item in await desk.town.inputs() if isinstance(item, TimerFired)] == []
    running.cancel()


async def test_a_timer_armed_in_the_moment_of_a_stop_does_not_keep_the_pod_alive(
    desk: Desk,
) -> None:
    timers = Timers(desk.bus, desk.gate)
    timers.open(desk.permit, [])
    running = asyncio.create_task(timers.run())
    await asyncio.sleep(0)
    due = ArmedTimer(
        guild=desk.town.guild, timer="t", armed_by=Sequence(1), due_ms=wall_ms() + 60_000
    )
    timers.arm(due)
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=10)
    assert done
