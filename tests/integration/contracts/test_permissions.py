"""The server refuses each user what is not its own; what it refuses, it says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import msgspec
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from components.bus.connection import Bus
from components.stack.keys import user_keys
from contracts import accounts, headers, storage, subjects
from contracts.ids import GuildId
from tests.support.nats import RunningNats

GUILD = GuildId("42")
WAIT_S = 10

Connect: TypeAlias = Callable[[str], Awaitable["Watched"]]


async def settle(client: Client) -> None:
    """Wait until the server has handled all that was sent. The client's first ping may overtake
    what it still has queued; the second one cannot."""
    await client.flush(timeout=WAIT_S)
    await client.flush(timeout=WAIT_S)


class Watched:
    """A bus user's own connection, with what the server answered to each attempt."""

    def __init__(self, user: str) -> None:
        self.client = Client()
        self.user = user
        self._refusals: asyncio.Queue[str] = asyncio.Queue()

    async def connect(self, url: str, seed: str) -> None:
        async def refused(error: Exception) -> None:
            self._refusals.put_nowait(str(error))

        await self.client.connect(
            url,
            name=f"watched-{self.user}",
            nkeys_seed_str=seed,
            inbox_prefix=accounts.inbox_prefix(self.user),
            allow_reconnect=False,
            error_cb=refused,
        )

    async def publish_refused(self, subject: str) -> bool:
        """Publish; whether the server refused."""
        await self.client.publish(subject, b"{}")
        return await self._refused("publish", subject)

    async def subscribe_refused(self, subject: str, queue: str = "") -> bool:
        """Subscribe; whether the server refused."""
        await self.client.subscribe(subject, queue=queue)
        return await self._refused("subscription", subject)

    async def _refused(self, action: str, subject: str) -> bool:
        await settle(self.client)
        if self._refusals.empty():
            return False
        words = self._refusals.get_nowait()  # the client gives them in lower case
        assert f'permissions violation for {action} to "{subject.lower()}"' in words
        assert self.client.is_connected, "a refusal must not cost the connection"
        return True


@pytest.fixture
async def connect(nats_server: RunningNats) -> AsyncIterator[Connect]:
    """Connects as a bus user."""
    open_ones: list[Watched] = []

    async def as_user(user: str) -> Watched:
        watched = Watched(user)
        await watched.connect(nats_server.url, nats_server.settings(user).seed)
        open_ones.append(watched)
        return watched

    yield as_user
    for watched in open_ones:
        await watched.client.close()


PUBLISH_REFUSED = [
    ("shard", subjects.event(GUILD, "case.opened")),
    ("shard", "$KV.guilds.42"),
    ("shard", subjects.request(GUILD, "settings.put")),
    ("shard", "modbot.answers.shard.shard-0.1"),
    ("gateway", "$KV.intent.balance"),
    ("gateway", "$KV.ends.gateway-0.1"),
    ("gateway", "$KV.leaders.config"),
    ("gateway", "$KV.sessions.0"),
    ("gateway", subjects.live(GUILD)),
    ("gateway", subjects.request(GUILD, "settings.put")),
    ("config", subjects.inputs(GUILD)),
    ("config", subjects.event(GUILD, "case.opened")),
    ("config", "$KV.registry.42"),
    ("config", "$KV.handoffs.released.42"),
    ("config", "$KV.ends.gateway-0.1"),
    ("parent", "$KV.pods.gateway-0"),
    ("parent", "$KV.guilds.42"),
    ("parent", subjects.inputs(GUILD)),
    ("parent", subjects.request(GUILD, "settings.put")),
    ("config", subjects.DISCONNECTS),
    ("edge", "$KV.guilds.42"),
    ("edge", subjects.event(GUILD, "case.opened")),
    ("edge", subjects.request(GUILD, "settings.put")),
    ("edge", subjects.request(GUILD, "input.skip")),
    ("edge", "modbot.config.status"),
    ("operator", subjects.inputs(GUILD)),
    ("operator", subjects.event(GUILD, "case.opened")),
    ("operator", "$KV.guilds.42"),
    ("operator", "$KV.pods.gateway-0"),
    ("operator", "$JS.API.STREAM.PURGE.INPUTS"),
    ("operator", "$JS.API.STREAM.DELETE.INPUTS"),
    ("gateway", "$JS.API.STREAM.UPDATE.INPUTS"),
    ("provisioner", subjects.inputs(GUILD)),
    ("provisioner", subjects.event(GUILD, "case.opened")),
]


SUBSCRIBE_REFUSED = [
    ("shard", subjects.live(GUILD)),
    ("shard", subjects.request(GUILD, "case.get")),
    ("shard", "modbot.answers.edge.>"),
    ("gateway", "modbot.answers.shard.>"),
    ("gateway", "modbot.config.>"),
    ("config", subjects.live(GUILD)),
    ("config", "modbot.rpc.*.>"),
    ("edge", "modbot.rpc.*.>"),
    ("edge", "modbot.events.*.>"),
    ("edge", "modbot.answers.shard.>"),
    ("provisioner", "modbot.>"),
    ("parent", "modbot.>"),
    ("parent", subjects.live(GUILD)),
    ("operator", "$JS.API.>"),
    ("operator", "$KV.>"),
]


async def test_each_user_is_refused_what_others_publish(connect: Connect) -> None:
    by_user = {user: await connect(user) for user in accounts.USER_OF_NAME}
    assert {user for user, _ in PUBLISH_REFUSED} == set(by_user)
    allowed = [
        f"{user}: {subject}"
        for user, subject in PUBLISH_REFUSED
        if not await by_user[user].publish_refused(subject)
    ]
    assert allowed == []


async def test_each_user_is_refused_what_others_hear(connect: Connect) -> None:
    by_user = {user: await connect(user) for user in accounts.USER_OF_NAME}
    assert {user for user, _ in SUBSCRIBE_REFUSED} == set(by_user)
    allowed = [
        f"{user}: {subject}"
        for user, subject in SUBSCRIBE_REFUSED
        if not await by_user[user].subscribe_refused(subject)
    ]
    assert allowed == []


async def test_nobody_reads_or_writes_into_anothers_inbox(connect: Connect) -> None:
    for user in accounts.USER_OF_NAME:
        watched = await connect(user)
        assert await watched.subscribe_refused("_INBOX.>")
        assert await watched.subscribe_refused(">")
        for other in accounts.USER_OF_NAME:
            inbox = f"{accounts.inbox_prefix(other)}.>"
            assert await watched.subscribe_refused(inbox) == (other != user)
            if other != user:
                reply = f"{accounts.inbox_prefix(other)}.reply"
                assert await watched.publish_refused(reply)


async def test_what_is_a_users_own_is_allowed(connect: Connect) -> None:
    shard, gateway, config = (
        await connect("shard"),
        await connect("gateway"),
        await connect("config"),
    )
    assert not await shard.publish_refused(subjects.inputs(GUILD))
    assert not await shard.publish_refused("$KV.sessions.0")
    assert not await gateway.subscribe_refused(subjects.live(GUILD))
    assert not await gateway.subscribe_refused(subjects.requests(GUILD))
    assert not await gateway.publish_refused(subjects.event(GUILD, "case.opened"))
    assert not await config.publish_refused("$KV.guilds.42")
    assert not await config.subscribe_refused(subjects.config_endpoint("status"), queue="q")


async def test_only_config_hears_of_lost_connections(connect: Connect) -> None:
    for user in accounts.USER_OF_NAME:
        watched = await connect(user)
        assert await watched.subscribe_refused(subjects.DISCONNECTS) == (user != "config")
        assert await watched.subscribe_refused("$SYS.>")


class _Client(msgspec.Struct):
    id: int
    name: str


class _Advisory(msgspec.Struct):
    client: _Client
    reason: str


async def test_config_hears_that_a_pods_connection_was_lost(nats_server: RunningNats) -> None:
    config = await nats_server.connect("config")
    pod = await nats_server.connect("gateway", name="gateway-0")
    advisories: asyncio.Queue[Msg] = asyncio.Queue()
    await config.listen(subjects.DISCONNECTS, advisories.put)
    await settle(config.client)
    lost = pod.client_id
    await pod.close()
    async with asyncio.timeout(WAIT_S):
        advisory = msgspec.json.decode((await advisories.get()).data, type=_Advisory)
    assert (advisory.client.id, advisory.client.name) == (lost, "gateway-0")
    assert advisory.reason


async def test_an_owner_answers_a_request_although_it_may_not_publish_to_the_inbox(
    nats_server: RunningNats, connect: Connect
) -> None:
    owner = await nats_server.connect("gateway")
    edge = await nats_server.connect("edge")
    replies: list[str] = []

    async def answer(message: Msg) -> None:
        replies.append(message.reply)
        await owner.say(message.reply, b"{}", {headers.EPOCH: "1"})

    await owner.listen(subjects.requests(GUILD), answer)
    await settle(owner.client)
    reply = await edge.ask(subjects.request(GUILD, "case.get"), b'{"number":1}')
    assert (reply.headers or {})[headers.EPOCH] == "1"
    other = await connect("gateway")
    assert await other.publish_refused(replies[0])


async def test_edge_reads_facts_through_a_consumer_but_not_the_inputs(
    nats_server: RunningNats,
) -> None:
    gateway: Bus = await nats_server.connect("gateway")
    edge = await nats_server.connect("edge")
    await gateway.append(subjects.event(GUILD, "case.opened"), b'{"number":1}')
    jetstream = edge.client.jetstream(timeout=0.5)
    facts = await jetstream.subscribe(
        subjects.EVENTS_WILDCARD, stream=storage.EVENTS, ordered_consumer=True
    )
    assert (await facts.next_msg(timeout=WAIT_S)).data == b'{"number":1}'


async def test_a_stranger_is_not_let_in(nats_server: RunningNats) -> None:
    watched = Watched("gateway")
    seed = user_keys(nats_server.folder / "other-installation")["gateway"]
    with pytest.raises(Exception, match=r"(?i)authorization violation"):
        await watched.connect(nats_server.url, seed)
