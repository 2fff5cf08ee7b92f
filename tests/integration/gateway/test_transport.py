"""The gate stands where bytes leave: nothing is written to Discord past it (0006, step 4)."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from discord.http import HTTPClient

from components.discord_api import DiscordSettings, point_at
from components.gateway.shell.effects import rest as module
from components.gateway.shell.effects.limits import InvalidRequests
from components.gateway.shell.effects.outcomes import Again, Refused
from components.gateway.shell.effects.rest import Rest
from components.gateway.shell.errors import GateClosed
from components.gateway.shell.gate import Gate, Permit
from components.process.clock import steady_s
from components.process.exits import CannotStart
from components.sharing.slots import RateShare
from components.simulator.bootstrap import Simulator
from components.simulator.client import SimulatorControl
from contracts.ids import Epoch, GuildId, Incarnation, PodId
from tests.support.ownership import acting

GUILD = GuildId("42")
PERMIT = Permit(GUILD, Epoch(1))


class Pod:
    """What the gate asks, set by the test."""

    def __init__(self) -> None:
        self.machine = acting(GUILD, 1)
        self.left_s = 5.0
        self.connected = True
        self.link = 1
        self.gate = Gate(self, self.machine)
        self.invalid = InvalidRequests(3)
        self.rest = Rest(self.gate, lambda: self.left_s, RateShare(1000), self.invalid)


@pytest.fixture
async def pod(discord: Simulator) -> AsyncIterator[Pod]:
    point_at(DiscordSettings(token="unused", api_url=discord.api_url))
    made = Pod()
    await made.rest.login(discord.world.settings.token)
    yield made
    await made.rest.close()


async def ban_list(http: HTTPClient) -> object:
    return await http.get_bans(42, 1)


async def calls(control: SimulatorControl) -> int:
    entries = await control.record_all(kinds=["rest"])
    return sum(1 for entry in entries if "bans" in entry.data["path"])


async def test_step_4_no_byte_leaves_once_the_lease_has_ended(
    pod: Pod, control: SimulatorControl
) -> None:
    pod.machine.lease.lose()
    with pytest.raises(GateClosed):
        await pod.rest.call(PERMIT, ban_list)
    assert await calls(control) == 0


async def test_step_4_no_byte_leaves_at_another_epoch(pod: Pod, control: SimulatorControl) -> None:
    with pytest.raises(GateClosed):
        await pod.rest.call(Permit(GUILD, Epoch(2)), ban_list)
    assert await calls(control) == 0


async def test_step_4_a_request_without_a_permit_does_not_leave(
    pod: Pod, control: SimulatorControl
) -> None:
    with pytest.raises(GateClosed):
        await ban_list(pod.rest._http)
    assert await calls(control) == 0


async def test_discord_is_told_which_process_calls(pod: Pod, control: SimulatorControl) -> None:
    pod.rest.name(PodId("gateway-7"), Incarnation("20260101T000000Z-9"))
    with pytest.raises(Refused):  # the bot is not in that guild
        await pod.rest.call(PERMIT, ban_list)
    called = [e for e in await control.record_all(kinds=["rest"]) if "bans" in e.data["path"]]
    assert called[0].data["caller"].startswith("DiscordBot (")
    assert called[0].data["caller"].endswith(" gateway-7/20260101T000000Z-9")


async def test_the_librarys_own_retries_are_not_used(pod: Pod, control: SimulatorControl) -> None:
    for status in (429, 500, 502, 503, 504):
        await control.add_fault(path="*/bans*", status=status, retry_after_s=0.3, count=1)
        with pytest.raises(Again) as again:
            await pod.rest.call(PERMIT, ban_list)
        assert again.value.in_doubt is (status != 429)
        assert again.value.after_s == (0.3 if status == 429 else None)
    assert await calls(control) == 5


async def test_a_cut_connection_is_in_doubt_and_not_repeated(
    pod: Pod, control: SimulatorControl
) -> None:
    await control.add_fault(path="*/bans*", drop=True, moment="after", count=1)
    with pytest.raises(Again) as again:
        await pod.rest.call(PERMIT, ban_list)
    assert again.value.in_doubt
    assert await calls(control) == 1


@asynccontextmanager
async def cutting_off(count: int) -> AsyncIterator[list[bytes]]:
    """A Discord whose first ``count`` answers end in the middle of their body; the others say who
    the bot is. Yields the requests that came."""
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        body = b'{"id": "7", "username": "modbot"}'
        length = len(body) if len(requests) > count else len(body) + 1
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}"
        writer.write(head.encode() + b"\r\nConnection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        point_at(DiscordSettings(token="unused", api_url=f"http://{host}:{port}/api/v10"))
        yield requests


async def test_an_answer_that_is_cut_off_in_its_body_is_in_doubt_and_not_repeated(pod: Pod) -> None:
    async with cutting_off(1) as requests:
        with pytest.raises(Again) as again:
            await pod.rest.call(PERMIT, ban_list)
    assert again.value.in_doubt
    assert len(requests) == 1


async def test_a_connection_that_breaks_in_the_body_of_an_answer_is_in_doubt(pod: Pod) -> None:
    async def reset(http: HTTPClient) -> object:
        await ban_list(http)
        raise ConnectionResetError

    async with cutting_off(0):
        with pytest.raises(Again, match="the connection failed: ConnectionResetError") as again:
            await pod.rest.call(PERMIT, reset)
    assert again.value.in_doubt


async def test_a_login_whose_answer_is_cut_off_is_tried_again() -> None:
    async with cutting_off(2) as requests:
        pod = Pod()
        try:
            await pod.rest.login("token")
            assert pod.rest.user_id == "7"
            assert len(requests) == 3
        finally:
            await pod.rest.close()


async def test_step_7_a_request_is_given_up_before_the_lease_ends(
    pod: Pod, control: SimulatorControl
) -> None:
    await control.add_fault(path="*/bans*", latency_ms=5000)
    pod.left_s = 0.2
    started = asyncio.get_running_loop().time()
    with pytest.raises(Again) as again:
        await pod.rest.call(PERMIT, ban_list)
    assert again.value.in_doubt
    assert asyncio.get_running_loop().time() - started < 1.0


async def test_a_renewed_lease_lets_a_slow_request_go_on(
    pod: Pod, control: SimulatorControl
) -> None:
    await control.add_fault(path="*/bans*", latency_ms=1500, count=None)
    pod.left_s = 1.0
    request = asyncio.create_task(pod.rest.call(PERMIT, ban_list))
    async with asyncio.timeout(1.0):
        while not any(fault.hits for fault in await control.faults()):
            await asyncio.sleep(0.01)
    pod.left_s = 5.0
    pod.rest.extend()
    with pytest.raises(Refused):  # there is no such guild, says Discord after all
        await request


async def test_a_request_that_hangs_is_given_up_however_often_the_lease_is_renewed(
    pod: Pod, control: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REQUEST_TIMEOUT_S", 0.5)
    await control.add_fault(path="*/bans*", latency_ms=3000)
    started = asyncio.get_running_loop().time()
    request = asyncio.create_task(pod.rest.call(PERMIT, ban_list))
    while not request.done():
        pod.rest.extend()
        await asyncio.sleep(0.05)
    with pytest.raises(Again) as again:
        await request
    assert again.value.in_doubt
    assert asyncio.get_running_loop().time() - started < 2.0


async def test_a_renewal_leaves_a_request_alone_that_is_being_given_up(
    pod: Pod, control: SimulatorControl
) -> None:
    await control.add_fault(path="*/bans*", latency_ms=3000, count=None)
    request = asyncio.create_task(pod.rest.call(PERMIT, ban_list))
    async with asyncio.timeout(10):
        while not any(fault.hits for fault in await control.faults()):
            await asyncio.sleep(0.01)
    pod.left_s = 0.0
    pod.rest.extend()
    pod.left_s = 5.0
    await asyncio.sleep(0)  # its time is over; it does not know yet
    assert not request.done()
    pod.rest.extend()
    with pytest.raises(Again) as again:
        await request
    assert again.value.in_doubt


async def test_other_pods_take_their_part_of_the_invalid_requests(
    pod: Pod, control: SimulatorControl
) -> None:
    pod.invalid.publish(2, pods=3)
    await control.add_fault(path="*/bans*", status=403, count=1)
    with pytest.raises(Refused):
        await pod.rest.call(PERMIT, ban_list)
    with pytest.raises(Again, match="too many invalid requests"):
        await pod.rest.call(PERMIT, ban_list, urgent=False)


async def test_posts_wait_after_too_many_invalid_requests(
    pod: Pod, control: SimulatorControl
) -> None:
    await control.add_fault(path="*/bans*", status=403, count=3)
    for _ in range(3):
        with pytest.raises(Refused):
            await pod.rest.call(PERMIT, ban_list)
    with pytest.raises(Again) as again:
        await pod.rest.call(PERMIT, ban_list, urgent=False)
    assert not again.value.in_doubt
    assert await calls(control) == 3


async def test_a_refused_token_is_said_in_words(discord: Simulator) -> None:
    point_at(DiscordSettings(token="unused", api_url=discord.api_url))
    pod = Pod()
    try:
        with pytest.raises(CannotStart, match="token"):
            await pod.rest.login("wrong")
    finally:
        await pod.rest.close()


async def test_a_discord_that_is_away_at_the_start_is_waited_for(
    discord: Simulator, control: SimulatorControl
) -> None:
    point_at(DiscordSettings(token="unused", api_url=discord.api_url))
    await control.add_fault(path="*/users/@me", status=503, count=1)
    pod = Pod()
    try:
        async with asyncio.timeout(5):
            await pod.rest.login(discord.world.settings.token)
        assert pod.rest.user_id
        with pytest.raises(Refused):  # who is logged in is known: the bot is not in that guild
            await pod.rest.call(PERMIT, ban_list)
    finally:
        await pod.rest.close()


async def logins(control: SimulatorControl) -> int:
    entries = await control.record_all(kinds=["rest"])
    return sum(1 for entry in entries if entry.data["path"].endswith("/users/@me"))


def open_sessions() -> int:
    """Client sessions that somebody still holds."""
    gc.collect()
    found = (held for held in gc.get_objects() if isinstance(held, aiohttp.ClientSession))
    return sum(not session.closed for session in found)


async def test_a_login_that_is_tried_again_leaves_no_session_behind(
    discord: Simulator, control: SimulatorControl
) -> None:
    point_at(DiscordSettings(token="unused", api_url=discord.api_url))
    await control.add_fault(path="*/users/@me", status=503, count=3)
    unclosed: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: unclosed.append(str(context["message"]))
    )
    before = open_sessions()
    pod = Pod()
    try:
        await pod.rest.login(discord.world.settings.token)
        assert open_sessions() == before + 1
        assert unclosed == []
        assert await logins(control) == 4
    finally:
        await pod.rest.close()


async def test_while_a_login_waits_its_slot_is_free_for_others(
    discord: Simulator, control: SimulatorControl
) -> None:
    point_at(DiscordSettings(token="unused", api_url=discord.api_url))
    await control.add_fault(path="*/users/@me", status=503, count=3)
    later_s = 0.0
    pod = Pod()
    share = RateShare(5, clock=lambda: steady_s() + later_s)
    rest = Rest(pod.gate, lambda: pod.left_s, share, pod.invalid)
    try:
        login = asyncio.create_task(rest.login(discord.world.settings.token))
        async with asyncio.timeout(10):
            while await logins(control) < 3:
                await asyncio.sleep(0.01)
            later_s = 5.0  # what was answered counts no more; what is held does
            while share.in_use:
                await asyncio.sleep(0.01)
            assert await logins(control) == 3
            await login
    finally:
        await rest.close()
        await pod.rest.close()


async def test_a_refused_login_is_an_invalid_request(discord: Simulator) -> None:
    point_at(DiscordSettings(token="unused", api_url=discord.api_url))
    pod = Pod()
    try:
        with pytest.raises(CannotStart):
            await pod.rest.login("wrong")
        assert pod.invalid.count == 1
    finally:
        await pod.rest.close()


async def test_a_limited_login_waits_as_long_as_discord_says_and_is_counted(
    discord: Simulator, control: SimulatorControl
) -> None:
    point_at(DiscordSettings(token="unused", api_url=discord.api_url))
    await control.add_fault(path="*/users/@me", status=429, retry_after_s=1.2, count=1)
    await control.add_fault(
        path="*/users/@me", status=429, retry_after_s=0.1, scope="shared", count=1
    )
    pod = Pod()
    started = asyncio.get_running_loop().time()
    try:
        await pod.rest.login(discord.world.settings.token)
        assert asyncio.get_running_loop().time() - started >= 1.2
        assert pod.invalid.count == 1
    finally:
        await pod.rest.close()
