"""Every route and dispatch of the simulator against Discord's own specifications.

Needs MODBOT_DISCORD_SPEC, a folder with `openapi.json` and `gateway-events.schema.json`.
"""

import os
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from components.simulator.bootstrap import running_simulator
from components.simulator.client import GuildInfo, SimulatorControl
from components.simulator.clock import Clock
from components.simulator.errors import DiscordError
from components.simulator.record import Record
from components.simulator.rest.table import ROUTES
from components.simulator.settings import Settings
from components.simulator.spec import Specification

FOLDER = os.environ.get("MODBOT_DISCORD_SPEC")
pytestmark = pytest.mark.skipif(
    not FOLDER, reason="MODBOT_DISCORD_SPEC names no folder with Discord's specifications"
)
TOKEN, APPLICATION = Settings().token, Settings().application_id
THUMB = "%F0%9F%91%8D"
BUTTON = {"type": 1, "components": [{"type": 2, "style": 1, "label": "go", "custom_id": "b"}]}
INPUT = {"type": 1, "components": [{"type": 4, "custom_id": "t", "label": "L", "style": 1}]}
CONTAINER = {
    "type": 17,
    "components": [
        {"type": 10, "content": "text"},
        {"type": 14},
        {
            "type": 9,
            "components": [{"type": 10, "content": "beside"}],
            "accessory": {"type": 2, "style": 5, "label": "open", "url": "https://example.com"},
        },
        {
            "type": 1,
            "components": [
                {"type": 3, "custom_id": "s", "options": [{"label": "a", "value": "a"}]}
            ],
        },
    ],
}
COMMANDS = [
    {
        "name": "case",
        "description": "cases",
        "options": [
            {
                "type": 1,
                "name": "view",
                "description": "one",
                "options": [
                    {"type": 4, "name": "number", "description": "n", "required": True},
                    {"type": 6, "name": "who", "description": "w"},
                    {"type": 7, "name": "where", "description": "w"},
                    {"type": 8, "name": "role", "description": "w"},
                ],
            }
        ],
    },
    {"name": "Info", "type": 2},
    {"name": "Report", "type": 3},
]


class World:
    """A bot that calls every route, and hears everything."""

    def __init__(self, http: aiohttp.ClientSession, api: str, control: SimulatorControl) -> None:
        self.http = http
        self.api = api
        self.control = control
        self.socket: aiohttp.ClientWebSocketResponse | None = None

    async def call(
        self, method: str, path: str, body: Any = None, status: tuple[int, ...] = (200, 201, 204)
    ) -> Any:
        data = None if body is None else msgspec.json.encode(body)
        headers = {"Authorization": f"Bot {TOKEN}", "Content-Type": "application/json"}
        async with self.http.request(method, self.api + path, data=data, headers=headers) as got:
            raw = await got.read()
            assert got.status in status, f"{method} {path}: {got.status} {raw!r}"
            return msgspec.json.decode(raw) if raw else None

    async def interaction(self) -> dict[str, Any]:
        assert self.socket is not None
        while True:
            payload = await self.socket.receive_json(timeout=5)
            if payload["t"] == "INTERACTION_CREATE":
                data: dict[str, Any] = payload["d"]
                return data

    async def answer(self, got: dict[str, Any], kind: int, **data: Any) -> Any:
        path = f"/interactions/{got['id']}/{got['token']}/callback?with_response=true"
        return await self.call("POST", path, {"type": kind, "data": data})


async def test_everything_the_simulator_says_fits_the_specifications() -> None:
    settings = Settings(spec_folder=Path(FOLDER or ""), limits=False)
    async with (
        running_simulator(settings) as sim,
        SimulatorControl(sim.url) as control,
        aiohttp.ClientSession() as http,
    ):
        guild = (
            await control.create_guilds(
                roles=[{"name": "helper"}],
                channels=[
                    {"name": "general"},
                    {"name": "category", "type": 4},
                    {"name": "voice", "type": 2},
                    {"name": "news", "type": 5},
                ],
                member_count=4,
            )
        )[0]
        world = World(http, sim.api_url, control)
        world.socket = await http.ws_connect(f"{sim.gateway_url}?v=10&encoding=json")
        identify = {"token": TOKEN, "intents": 53_608_447, "properties": {}}
        await world.socket.send_json({"op": 2, "d": identify})
        await _identity(world)
        await _messages(world, guild)
        await _threads(world, guild)
        await _guild(world, guild)
        await _members(world, guild)
        await _interactions(world, guild)
        await _leaving(world, guild)
        assert [e.data for e in await control.record_all(["violation"])] == []
        called = {
            (e.data["method"], e.data["route"])
            for e in await control.record_all(["rest"])
            if e.data["status"] < 300
        }
        assert {(r.method, r.path) for r in ROUTES} - called == set()
        sent = {e.data["event"] for e in await control.record_all(["dispatch"])}
        assert sent >= {
            "READY",
            "GUILD_CREATE",
            "GUILD_UPDATE",
            "GUILD_DELETE",
            "GUILD_ROLE_CREATE",
            "GUILD_ROLE_UPDATE",
            "GUILD_ROLE_DELETE",
            "CHANNEL_CREATE",
            "CHANNEL_UPDATE",
            "CHANNEL_DELETE",
            "THREAD_CREATE",
            "THREAD_UPDATE",
            "THREAD_DELETE",
            "THREAD_MEMBERS_UPDATE",
            "GUILD_MEMBER_ADD",
            "GUILD_MEMBER_UPDATE",
            "GUILD_MEMBER_REMOVE",
            "GUILD_BAN_ADD",
            "GUILD_BAN_REMOVE",
            "GUILD_AUDIT_LOG_ENTRY_CREATE",
            "MESSAGE_CREATE",
            "MESSAGE_UPDATE",
            "MESSAGE_DELETE",
            "MESSAGE_DELETE_BULK",
            "MESSAGE_REACTION_ADD",
            "MESSAGE_REACTION_REMOVE",
            "INTERACTION_CREATE",
        }


async def _identity(world: World) -> None:
    for path in (
        "/gateway",
        "/gateway/bot",
        "/users/@me",
        "/oauth2/applications/@me",
        "/applications/@me",
        f"/applications/{APPLICATION}",
    ):
        await world.call("GET", path)


async def _messages(world: World, guild: GuildInfo) -> None:
    control, call = world.control, world.call
    channel, alice = guild.channels["general"], guild.members[0].id
    base = f"/channels/{channel}/messages"
    picture = {"filename": "a.png", "content_type": "image/png", "width": 1, "height": 2}
    first = await control.post(
        channel,
        alice,
        f"hello <@{APPLICATION}>",
        attachments=[picture],
        embeds=[{"title": "e", "fields": [{"name": "n", "value": "v"}]}],
        stickers=["wave"],
    )
    forward = await control.post(
        channel, alice, forward={"channel_id": channel, "message_id": first}
    )
    reply = await control.post(channel, alice, "reply", reply_to=first)
    await control.edit(channel, first, alice, "edited")
    await control.react(channel, first, alice, "👍")
    await call("PUT", f"{base}/{first}/reactions/{THUMB}/@me")
    await call("GET", f"{base}/{first}/reactions/{THUMB}")
    await call("GET", f"{base}?limit=10")
    await call("GET", f"{base}/{forward}")
    await call("DELETE", f"{base}/{first}/reactions/{THUMB}/@me")
    await call("DELETE", f"{base}/{first}/reactions/{THUMB}/{alice}")
    made = await call(
        "POST",
        base,
        {
            "content": "x",
            "nonce": "a",
            "enforce_nonce": True,
            "components": [BUTTON],
            "embeds": [{"title": "t", "fields": [{"name": "a", "value": "b"}]}],
            "allowed_mentions": {"parse": []},
            "message_reference": {"message_id": str(first)},
        },
    )
    await call("POST", base, {"flags": 1 << 15, "components": [CONTAINER]})
    await call("PATCH", f"{base}/{made['id']}", {"content": "y"})
    await call("DELETE", f"{base}/{made['id']}")
    await call("POST", f"{base}/bulk-delete", {"messages": [str(forward), str(reply)]})


async def _threads(world: World, guild: GuildInfo) -> None:
    call = world.call
    channel, alice = guild.channels["general"], guild.members[0].id
    message = await world.control.post(channel, alice, "start")
    body = {"name": "thread", "auto_archive_duration": 60}
    thread = await call("POST", f"/channels/{channel}/messages/{message}/threads", body)
    private = await call("POST", f"/channels/{channel}/threads", {"name": "private", "type": 12})
    path = f"/channels/{thread['id']}"
    await call("GET", path)
    await call("PATCH", path, {"archived": True, "locked": True})
    await call("PATCH", path, {"archived": False, "locked": False, "name": "renamed"})
    await call("PUT", f"{path}/thread-members/{alice}")
    await call("GET", f"{path}/thread-members")
    await call("DELETE", f"{path}/thread-members/{alice}")
    await call("DELETE", f"{path}/thread-members/@me")
    await call("PUT", f"{path}/thread-members/@me")
    await call("GET", f"/guilds/{guild.id}/threads/active")
    await call("GET", f"/channels/{channel}/messages/{message}")
    await call("DELETE", f"/channels/{private['id']}")


async def _guild(world: World, guild: GuildInfo) -> None:
    call, base = world.call, f"/guilds/{guild.id}"
    await world.control.rename_guild(guild.id, "renamed")
    await call("GET", base)
    await call("GET", f"{base}?with_counts=true")
    await call("GET", f"{base}/channels")
    made = await call("POST", f"{base}/channels", {"name": "new", "type": 0, "topic": "t"})
    overwrite = {"id": str(guild.roles["helper"]), "type": 0, "deny": "1024"}
    change = {"rate_limit_per_user": 10, "permission_overwrites": [overwrite]}
    await call("PATCH", f"/channels/{made['id']}", change)
    await call("DELETE", f"/channels/{made['id']}")
    await call("GET", f"{base}/roles")
    role = await call("POST", f"{base}/roles", {"name": "made", "permissions": "0"})
    await call("PATCH", f"{base}/roles/{role['id']}", {"name": "named", "color": 5})
    await call("PATCH", f"{base}/roles", [{"id": role["id"], "position": 1}])
    member = f"{base}/members/{guild.members[0].id}"
    await call("PUT", f"{member}/roles/{role['id']}")
    await call("DELETE", f"{member}/roles/{role['id']}")
    await call("DELETE", f"{base}/roles/{role['id']}")


async def _members(world: World, guild: GuildInfo) -> None:
    call, base = world.call, f"/guilds/{guild.id}"
    alice = guild.members[0].id
    await call("GET", f"{base}/members/{alice}")
    await call("GET", f"{base}/members?limit=10")
    await call("GET", f"{base}/members/search?query=mem&limit=4")
    until = "2026-01-01T10:00:00+00:00"
    change = {"nick": "n", "communication_disabled_until": until}
    await call("PATCH", f"{base}/members/{alice}", change)
    await call("PATCH", f"{base}/members/@me", {"nick": "bot"})
    await call("DELETE", f"{base}/members/{guild.members[1].id}")
    await call("PUT", f"{base}/bans/{alice}", {"delete_message_seconds": 3600})
    await call("GET", f"{base}/bans")
    await call("GET", f"{base}/bans/{alice}")
    await call("DELETE", f"{base}/bans/{alice}", {})
    await call("POST", f"{base}/bulk-ban", {"user_ids": [str(alice)]})
    await call("GET", f"{base}/audit-logs?limit=100")
    direct = await call("POST", "/users/@me/channels", {"recipient_id": str(guild.owner_id)})
    await call("POST", f"/channels/{direct['id']}/messages", {"content": "hi"})
    await call("GET", f"/channels/{direct['id']}")


async def _interactions(world: World, guild: GuildInfo) -> None:
    control, call = world.control, world.call
    for scope in ("", f"/guilds/{guild.id}"):
        path = f"/applications/{APPLICATION}{scope}/commands"
        await call("PUT", path, COMMANDS if not scope else [])
        await call("GET", path)
    channel, bob = guild.channels["general"], guild.members[2].id
    options = {"number": 3, "who": bob, "where": channel, "role": guild.roles["helper"]}
    await control.command(channel, bob, "case view", options)
    got = await world.interaction()
    await world.answer(got, 4, content="yes", components=[BUTTON])
    webhook = f"/webhooks/{APPLICATION}/{got['token']}"
    await call("PATCH", f"{webhook}/messages/@original", {"content": "edited"})
    original = await call("GET", f"{webhook}/messages/@original")
    more = await call("POST", webhook, {"content": "more", "flags": 64})
    await call("PATCH", f"{webhook}/messages/{more['id']}", {"content": "edited"})
    await call("GET", f"{webhook}/messages/{more['id']}")
    await call("DELETE", f"{webhook}/messages/{more['id']}")
    await control.press(channel, int(original["id"]), bob, "b")
    got = await world.interaction()
    await world.answer(got, 9, custom_id="m", title="T", components=[INPUT])
    await control.submit(int(got["id"]), {"t": "text"})
    got = await world.interaction()
    await world.answer(got, 5, flags=64)
    path = f"/webhooks/{APPLICATION}/{got['token']}/messages/@original"
    await call("PATCH", path, {"content": "done"})
    await control.command(channel, bob, "Report", type=3, target_id=int(original["id"]))
    await world.answer(await world.interaction(), 5)
    await control.command(channel, bob, "Info", type=2, target_id=bob)
    got = await world.interaction()
    await world.answer(got, 4, content="x")
    await call("DELETE", f"/webhooks/{APPLICATION}/{got['token']}/messages/@original")


async def _leaving(world: World, guild: GuildInfo) -> None:
    control = world.control
    await control.outage(guild.id, True)
    await control.outage(guild.id, False)
    await control.leave(guild.id, guild.members[2].id)
    await control.join(guild.id, username="late")
    await control.remove_bot(guild.id, APPLICATION)


@pytest.mark.parametrize(
    ("path", "body", "at", "code"),
    [
        ("/channels/{channel_id}/messages", {"content": 3}, ["content"], "BASE_TYPE_CONVERT"),
        (
            "/channels/{channel_id}/messages",
            {"message_reference": {}},
            ["message_reference", "message_id"],
            "BASE_TYPE_REQUIRED",
        ),
        (
            "/guilds/{guild_id}/bulk-ban",
            {"user_ids": [str(i) for i in range(201)]},
            ["user_ids"],
            "BASE_TYPE_MAX_LENGTH",
        ),
    ],
)
def test_a_clients_violation_is_a_nested_50035_and_recorded(
    path: str, body: Any, at: list[str], code: str
) -> None:
    record = Record(Clock(), 100)
    specification = Specification(Path(FOLDER or ""), record)
    with pytest.raises(DiscordError) as refused:
        specification.check_request("POST", path, body)
    node: Any = refused.value.body()["errors"]
    for part in at:
        node = node[part]
    assert node["_errors"][0]["code"] == code
    assert record.last == 1


def test_snowflakes_as_integers_and_permissions_as_strings_are_taken() -> None:
    specification = Specification(Path(FOLDER or ""), Record(Clock(), 100))
    path = "/channels/{channel_id}/messages"
    reference = {"message_id": 1_000_000_000_000_000_001}
    specification.check_request("POST", path, {"content": "x", "message_reference": reference})
    specification.check_request("POST", "/guilds/{guild_id}/roles", {"permissions": "8"})


def test_a_dispatch_that_does_not_fit_is_recorded() -> None:
    record = Record(Clock(), 100)
    Specification(Path(FOLDER or ""), record).check_dispatch("MESSAGE_DELETE", {"id": "1"})
    entries, _ = record.since(0)
    assert [(e.kind, e.data["of"], e.data["name"]) for e in entries] == [
        ("violation", "dispatch", "MESSAGE_DELETE")
    ]
