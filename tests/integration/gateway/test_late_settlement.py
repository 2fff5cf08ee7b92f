"""Effects in doubt for longer than Discord remembers a nonce, and signals raised twice."""

import pytest

from components.bus.buckets import Bucket
from components.gateway.engine.effects import (
    CreateMessage,
    KickMember,
    RaiseSignal,
    TimeOutMember,
)
from components.gateway.shell.effects.executors import EXECUTE
from components.gateway.shell.effects.outcomes import Expired
from components.gateway.shell.effects.settlement import NONCE_WINDOW_MS, settle
from components.process.clock import wall_ms
from components.simulator.client import SimulatorControl
from contracts import storage
from contracts.ids import ChannelId, GuildId, UserId
from contracts.inputs import GuildSignal
from tests.integration.gateway.desk import Desk
from tests.integration.gateway.town import Town


def report(town: Town, text: str = "a report") -> CreateMessage:
    channel = ChannelId(str(town.info.channels["mod-log"]))
    return CreateMessage(channel=channel, body={"content": text}, nonce=text)


async def texts(town: Town) -> list[str]:
    found = await town.control.messages(town.info.channels["mod-log"])
    return [message["content"] for message in found]


@pytest.mark.parametrize("later_ms", [0, NONCE_WINDOW_MS + 1])
async def test_a_message_that_was_posted_is_found_and_not_posted_again(
    later_ms: int, desk: Desk
) -> None:
    payload = report(desk.town)
    made = await EXECUTE["message.create"](desk.work(payload), payload)
    settled = await settle(desk.work(payload, later_ms=later_ms), payload)
    assert settled == made
    assert await texts(desk.town) == ["a report"]


async def test_a_message_that_was_not_posted_is_posted_however_late(desk: Desk) -> None:
    other, payload = report(desk.town, "another report"), report(desk.town)
    await EXECUTE["message.create"](desk.work(other), other)
    await settle(desk.work(payload, later_ms=NONCE_WINDOW_MS + 1), payload)
    assert await texts(desk.town) == ["another report", "a report"]


async def test_words_of_others_are_not_taken_for_ours(
    desk: Desk, control: SimulatorControl
) -> None:
    payload = report(desk.town)
    work = desk.work(payload, later_ms=NONCE_WINDOW_MS + 1)
    town = desk.town
    await control.post(town.info.channels["mod-log"], town.info.owner_id, "a report")
    await settle(work, payload)
    assert await texts(town) == ["a report", "a report"]


async def test_a_member_who_came_back_is_not_kicked_for_what_was_before(
    desk: Desk, control: SimulatorControl
) -> None:
    user = desk.town.info.members[0].id
    payload = KickMember(user=UserId(str(user)), joined_before_ms=wall_ms(), reason="spam")
    await control.leave(desk.town.info.id, user)
    await control.join(desk.town.info.id, id=user)
    assert await settle(desk.work(payload), payload) == {"settled": "came back since"}
    guild = await control.guild(desk.town.info.id)
    assert user in {int(member["user"]["id"]) for member in guild["member_list"]}


async def test_a_timeout_that_would_have_ended_expires(desk: Desk) -> None:
    user = UserId(str(desk.town.info.members[0].id))
    payload = TimeOutMember(user=user, until_ms=wall_ms() - 1, reason="spam")
    with pytest.raises(Expired):
        await EXECUTE["member.timeout"](desk.work(payload), payload)


async def test_a_signal_raised_twice_reaches_each_guild_once_and_claims_once(
    desk: Desk,
) -> None:
    signals = Bucket(desk.bus, storage.SIGNALS)
    town, user = desk.town, "5"
    here = GuildId("77")
    for guild in (town.guild, here):
        await signals.put(f"sharing.{guild}", b'{"guild":"1","sequence":1}')
    await signals.put(f"{user}.{here}", b'{"guild":"77","sequence":1}')
    payload = RaiseSignal(
        op="report",
        guild_name="town",
        guild_count=2,
        user=UserId(user),
        tier="high",
        escalate=True,
    )
    first = await settle(desk.work(payload), payload)
    again = await settle(desk.work(payload), payload)
    assert first == again == {"guilds": "2", "reached": "true", "dm_claimed": "true"}
    log = Town(town.info, town.control, town.shard, town.operator, town.config)
    log.guild = here
    assert [type(item) for item in await log.inputs()] == [GuildSignal]


async def test_a_second_guild_does_not_warn_the_user_again(desk: Desk) -> None:
    signals = Bucket(desk.bus, storage.SIGNALS)
    await signals.put("dm.5", b'{"guild":"77","sequence":1}')
    for guild in (desk.town.guild, "77"):
        await signals.put(f"sharing.{guild}", b'{"guild":"1","sequence":1}')
    await signals.put("5.77", b'{"guild":"77","sequence":1}')
    payload = RaiseSignal(
        op="report", guild_name="t", guild_count=2, user=UserId("5"), tier="high", escalate=True
    )
    data = await settle(desk.work(payload), payload)
    assert (data["reached"], data["dm_claimed"]) == ("true", "false")


async def test_a_report_of_a_lower_tier_counts_but_raises_nothing(desk: Desk) -> None:
    payload = RaiseSignal(
        op="report", guild_name="t", guild_count=1, user=UserId("5"), tier="low", escalate=False
    )
    await Bucket(desk.bus, storage.SIGNALS).put(f"sharing.{desk.town.guild}", b"{}")
    data = await settle(desk.work(payload), payload)
    assert data == {"guilds": "1", "reached": "false", "dm_claimed": "false"}
