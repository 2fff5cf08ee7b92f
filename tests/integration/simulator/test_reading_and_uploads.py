"""Reading lists page by page, uploads, member chunks, commands, bodies that are no JSON."""

import aiohttp
import msgspec
import pytest

from components.simulator.bootstrap import Simulator
from components.simulator.client import GuildInfo, SimulatorControl
from components.simulator.gateway.protocol import Op
from components.simulator.settings import Settings
from tests.integration.simulator.raw import TOKEN, Caller

APPLICATION = Settings().application_id


async def test_messages_are_listed_newest_first_around_before_and_after(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    channel = guild.channels["general"]
    ids = [await control.post(channel, guild.members[0].id, str(i)) for i in range(6)]

    async def listed(query: str) -> list[int]:
        reply = await caller.call("GET", f"/channels/{channel}/messages?{query}")
        return [ids.index(int(m["id"])) for m in reply.body]

    assert await listed("limit=3") == [5, 4, 3]
    assert await listed(f"before={ids[3]}&limit=2") == [2, 1]
    assert await listed(f"after={ids[2]}&limit=2") == [4, 3]
    assert await listed(f"around={ids[3]}&limit=3") == [4, 3, 2]
    refused = await caller.call("GET", f"/channels/{channel}/messages?limit=101")
    assert (refused.status, refused.code) == (400, 50035)


async def test_the_audit_log_is_read_by_user_action_and_page(
    caller: Caller, guild: GuildInfo
) -> None:
    base = f"/guilds/{guild.id}"
    alice, bob = guild.members[0].id, guild.members[1].id
    await caller.call("PATCH", f"{base}/members/{alice}", {"nick": "a"})
    await caller.call("PATCH", f"{base}/members/{bob}", {"nick": "b"})
    await caller.call("DELETE", f"{base}/members/{bob}")

    async def listed(query: str) -> list[tuple[int, str]]:
        found = (await caller.call("GET", f"{base}/audit-logs?{query}")).body
        return [(e["action_type"], e["target_id"]) for e in found["audit_log_entries"]]

    everything = [(20, str(bob)), (24, str(bob)), (24, str(alice))]
    assert await listed("") == everything
    assert await listed("action_type=24") == everything[1:]
    assert await listed(f"user_id={APPLICATION}&limit=1") == everything[:1]
    assert await listed(f"user_id={alice}") == []
    assert await listed("after=0&limit=2") == everything[:0:-1]


async def test_a_file_is_uploaded_with_its_message(
    sim: Simulator, control: SimulatorControl, guild: GuildInfo
) -> None:
    form = aiohttp.FormData(quote_fields=False)
    payload = {"content": "see", "attachments": [{"id": 0, "description": "a log"}]}
    form.add_field("payload_json", msgspec.json.encode(payload).decode())
    form.add_field("files[0]", b"\r\n--line\r\n", filename="log.txt", content_type="text/plain")
    url = f"{sim.api_url}/channels/{guild.channels['general']}/messages"
    headers = {"Authorization": f"Bot {TOKEN}"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, data=form, headers=headers) as reply,
    ):
        assert reply.status == 200
    attachment = (await control.messages(guild.channels["general"]))[0]["attachments"][0]
    assert (attachment["filename"], attachment["description"]) == ("log.txt", "a log")
    assert attachment["url"].endswith("/log.txt")


@pytest.mark.parametrize(("raw", "code"), [(b"{", 50109), (b"[]", 50035), (b"3", 50035)])
async def test_a_body_that_is_no_object_is_refused(
    raw: bytes, code: int, sim: Simulator, guild: GuildInfo
) -> None:
    url = f"{sim.api_url}/channels/{guild.channels['general']}/messages"
    headers = {"Authorization": f"Bot {TOKEN}", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, data=raw, headers=headers) as reply,
    ):
        assert (reply.status, (await reply.json())["code"]) == (400, code)


async def test_members_come_in_chunks_when_asked_for(
    caller: Caller, control: SimulatorControl
) -> None:
    guild = (await control.create_guilds(member_count=1200))[0]
    gateway = await caller.identified()
    created = await gateway.until("GUILD_CREATE")
    assert (created["large"], len(created["members"])) == (True, 1)
    ask = {"guild_id": str(guild.id), "query": "", "limit": 0, "nonce": "n"}
    await gateway.send(Op.REQUEST_GUILD_MEMBERS, ask)
    chunks = [await gateway.until("GUILD_MEMBERS_CHUNK") for _ in range(2)]
    assert [(c["chunk_index"], c["chunk_count"], c["nonce"]) for c in chunks] == [
        (0, 2, "n"),
        (1, 2, "n"),
    ]
    assert sum(len(c["members"]) for c in chunks) == 1202
    one = guild.members[7]
    ask = {"guild_id": str(guild.id), "user_ids": [str(one.id), "1"]}
    await gateway.send(Op.REQUEST_GUILD_MEMBERS, ask)
    chunk = await gateway.until("GUILD_MEMBERS_CHUNK")
    assert [m["user"]["username"] for m in chunk["members"]] == [one.username]
    assert chunk["not_found"] == ["1"]


async def test_registered_commands_keep_their_ids_when_put_again(
    caller: Caller, guild: GuildInfo
) -> None:
    path = f"/applications/{APPLICATION}/commands"
    case = {"name": "case", "description": "cases"}
    first = (await caller.call("PUT", path, [case])).body
    other = {"name": "other", "description": "o"}
    second = (await caller.call("PUT", path, [other, {**case, "description": "new"}])).body
    assert second[1]["id"] == first[0]["id"]
    assert second[1]["description"] == "new"
    assert (await caller.call("GET", path)).body == second
    twice = await caller.call("PUT", path, [case, case])
    assert (twice.status, twice.code) == (400, 50035)
    foreign = await caller.call("PUT", "/applications/1/commands", [case])
    assert (foreign.status, foreign.code) == (403, 20012)
    of_guild = f"/applications/{APPLICATION}/guilds/{guild.id}/commands"
    made = (await caller.call("PUT", of_guild, [other])).body
    assert made[0]["guild_id"] == str(guild.id)


async def test_a_direct_channel_is_the_same_each_time_and_its_messages_have_content(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    alice = guild.members[0].id
    opened = [
        (await caller.call("POST", "/users/@me/channels", {"recipient_id": str(alice)})).body
        for _ in range(2)
    ]
    assert opened[0]["id"] == opened[1]["id"]
    gateway = await caller.connect()
    await gateway.identify(intents=1 << 12)
    await control.post(int(opened[0]["id"]), alice, "psst")
    message = await gateway.until("MESSAGE_CREATE")
    assert (message["content"], "guild_id" in message) == ("psst", False)
