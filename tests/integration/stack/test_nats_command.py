"""Everything that an operator does with the `nats` command alone, typed on a whole stack."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from nats.aio.msg import Msg

from components.bus.buckets import Bucket
from components.bus.connection import connect
from components.bus.settings import BusSettings
from components.config.operators import NAME
from components.stack.live import LiveStack, live_stack
from contracts import storage, subjects
from contracts.catalog import CONFIG_ENDPOINTS
from contracts.ids import GuildId
from contracts.message import decode
from contracts.operations import OperationProgress
from contracts.records import Assignment, ShardPlan
from tests.integration.live.guild import new_guild
from tests.support.nats_cli import NatsCli

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Operator:
    """A person at a terminal, with the context that `modbot up` has written for them."""

    def __init__(self, live: LiveStack, guilds: list[GuildId]) -> None:
        self.live = live
        self.guilds = guilds
        self.cli = NatsCli(live.home / "config")
        self.told: dict[str, OperationProgress] = {}
        self._heard = asyncio.Event()

    async def req(self, verb: str, document: object = None) -> Any:
        """`nats req` of one of config's verbs: the answer's JSON, which is no error."""
        words = json.dumps(document) if document is not None else ""
        said = await self.cli.type("req", subjects.config_endpoint(verb), words)
        assert said.code == 0, said.words
        assert "Nats-Service-Error" not in said.words, said.words
        return json.loads(said.output)

    async def hear(self, message: Msg) -> None:
        """Take in what is told of operations."""
        told = decode(message.data, OperationProgress)
        self.told[told.operation] = told
        self._heard.set()
        self._heard = asyncio.Event()

    async def done(self, answer: dict[str, str]) -> None:
        """Wait until the operation that an answer names has told its end, which is a good one."""
        operation = answer["operation"]
        async with asyncio.timeout(30):
            while operation not in self.told or self.told[operation].state == "running":
                await self._heard.wait()
        assert self.told[operation].state == "done", self.told[operation]

    async def guild(self, guild: GuildId) -> Any:
        return await self.req("guild", {"guild": guild})

    async def owned(self) -> dict[GuildId, Assignment]:
        """Who owns what, by the bus."""
        found = await Bucket(self.live.bus, storage.GUILDS).snapshot()
        return {GuildId(key): decode(one.value or b"", Assignment) for key, one in found.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operator(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Operator]:
    """At a stack of three pods, with four guilds that are served and followed."""
    home: Path = tmp_path_factory.mktemp("operator") / "home"
    async with live_stack(home, "--guilds", "0", "--gateways", "3") as live:
        made = [await new_guild(live, f"town {number}") for number in range(4)]
        at = Operator(live, [GuildId(str(guild.id)) for guild in made])
        await live.bus.listen(subjects.progress("*"), at.hear)
        await at.req("pause", {"reason": "hands off", "by": "alice"})
        await _followed(at)
        yield at


async def _followed(operator: Operator) -> None:
    async with asyncio.timeout(30):
        while True:
            status = await operator.req("status")
            if status["guilds"] == 4 and not status.get("without_follower"):
                return


async def test_nats_micro_finds_the_service_and_shows_every_verb_with_what_it_does(
    operator: Operator,
) -> None:
    said = await operator.cli.type("micro", "ls")
    assert said.code == 0, said.words
    assert NAME in said.output
    said = await operator.cli.type("micro", "info", NAME)
    assert said.code == 0, said.words
    for verb, purpose, _, _ in CONFIG_ENDPOINTS:
        assert f"Subject: {subjects.config_endpoint(verb)}\n" in said.output
        assert f"description: {purpose}\n" in said.output, "shown whole, not shortened"
    await operator.req("plan")
    async with asyncio.timeout(30):  # who answers 0.3 s after the first is not shown
        while True:
            said = await operator.cli.type("micro", "stats", NAME)
            assert said.code == 0, said.words
            rows = [
                [cell.strip() for cell in line.split("│")[2:4]]
                for line in said.output.splitlines()
                if line.count("│") > 3
            ]
            if len([verb for verb, _ in rows if verb == "plan"]) == 2:  # two replicas
                break
    asked = {verb: sum(int(n) for v, n in rows if v == verb) for verb, *_ in CONFIG_ENDPOINTS}
    assert asked["plan"] >= 1
    assert asked["status"] >= 1


async def test_every_verb_is_typed_as_nats_req_and_answers_in_json(operator: Operator) -> None:
    guild = operator.guilds[0]
    placed = await operator.guild(guild)
    owner, follower = placed["pod"], placed["follower"]
    (third,) = {"gateway-0", "gateway-1", "gateway-2"} - {owner, follower}

    status = await operator.req("status")
    assert (status["guilds"], status["waiting"], status["database"]) == (4, [], "up")
    assert (status["paused"], status["paused_by"], status["paused_reason"]) == (
        True,
        "alice",
        "hands off",
    )
    pods = (await operator.req("pods"))["pods"]
    assert [(pod["pod"], pod["state"]) for pod in pods] == [
        (f"gateway-{number}", "serving") for number in range(3)
    ]
    listed = await operator.req("guilds", {"pod": owner})
    assert guild in [line["guild"] for line in listed["guilds"]]

    await operator.done(await operator.req("move", {"guilds": [guild], "pod": third, "by": "bob"}))
    assert (await operator.guild(guild))["pod"] == third
    async with asyncio.timeout(30):  # a row is written when the change is made, by another task
        while True:
            (change,) = (await operator.req("history", {"guild": guild, "limit": 1}))["changes"]
            if change["cause"] != "placed":
                break
    assert (change["cause"], change["by"], change["pod"]) == ("moved", "bob", third)
    await operator.req("pin", {"guild": guild, "pod": owner, "by": "bob"})
    await _until(operator, guild, pod=owner, pinned=owner)
    await operator.req("unpin", {"guild": guild})
    await _until(operator, guild, pod=owner, pinned=None)

    plan = await operator.req("plan")
    assert (plan["paused"], plan["moves_total"]) == (True, len(plan["moves"]))
    await operator.done(await operator.req("rebalance", {"by": "bob"}))
    resumed = await operator.req("resume", {"by": "bob"})
    assert resumed == {"operation": "", "what": "config spreads guilds by itself"}
    paused = await operator.req("pause", {"by": "alice"})
    assert paused == {"operation": "", "what": "config moves nothing by itself"}

    await operator.done(await operator.req("drain", {"pod": owner, "by": "bob"}))
    assert owner not in {one.pod for one in (await operator.owned()).values()}
    undrained = await operator.req("undrain", {"pod": owner})
    assert undrained == {"operation": "", "what": f"{owner} takes guilds again"}

    started = await operator.req("reshard", {"count": 2, "by": "bob"})
    assert started["what"].startswith("change from 1 to 2 shards: ")
    taken_back = await operator.req("reshard", {"abort": True, "by": "bob"})
    assert taken_back == {"operation": "", "what": "the number of shards stays 1"}
    said = await operator.cli.type("kv", "get", storage.SHARDS, storage.SHARD_PLAN, "--raw")
    plan_ = decode(said.output.encode(), ShardPlan)
    assert (plan_.operation, plan_.phase) == (started["operation"], "aborted")


async def _until(operator: Operator, guild: GuildId, *, pod: str, pinned: str | None) -> None:
    async with asyncio.timeout(30):
        while True:
            now = await operator.guild(guild)
            if (now["pod"], now.get("pinned")) == (pod, pinned):
                return


async def test_nats_sub_shows_how_far_a_drain_has_come(operator: Operator) -> None:
    pod = (await operator.owned())[operator.guilds[0]].pod
    async with operator.cli.running("sub", subjects.progress("*"), "--raw") as watching:
        assert watching.stdout is not None
        await _until_it_hears(operator, watching.stdout)
        started = await operator.req("drain", {"pod": pod, "by": "carol"})
        told: list[OperationProgress] = []
        async with asyncio.timeout(30):
            while not told or told[-1].state == "running":
                line = (await watching.stdout.readline()).strip()
                if line in (b"", b"hello"):
                    continue
                one = decode(line, OperationProgress)
                if one.operation == started["operation"]:
                    told.append(one)
    assert {one.what for one in told} == {f"drain {pod}"}
    assert told[-1].state == "done"
    assert told[-1].done == told[-1].total > 0
    await operator.req("undrain", {"pod": pod})


async def _until_it_hears(operator: Operator, printed: asyncio.StreamReader) -> None:
    """Wait until the command has subscribed, which it announces before it has: something is said
    until it prints that."""
    record = operator.live.record
    seed = (Path(record.credentials["seeds"]) / "config.nk").read_text(encoding="ascii").strip()
    bus = await connect(BusSettings(url=record.urls["nats"], seed=seed), user="config", name="test")
    try:
        async with asyncio.timeout(10):
            line = asyncio.ensure_future(printed.readline())
            while not line.done():
                await bus.say(subjects.progress("hello"), b"hello")
                await asyncio.wait([line], timeout=0.05)
    finally:
        await bus.close()


@pytest.mark.parametrize(
    ("verb", "document", "code", "words"),
    [
        ("guild", "{", 400, 'send {"guild": "ID"}'),
        ("guild", '{"guild": 5}', 400, 'send {"guild": "ID"}'),
        ("guild", '{"guild": "x.y"}', 422, "is not a guild's id; it is a number"),
        ("guild", '{"guild": "404"}', 404, "nobody has seen guild 404: check the id"),
        ("guilds", '{"limit": 0}', 422, "limit must be between 1 and 2000"),
        ("history", '{"limit": 5000}', 422, "limit must be between 1 and 1000"),
        ("rebalance", '{"by": 5}', 400, "send {}"),
        ("drain", "{}", 400, 'send {"pod": "NAME"}'),
        ("drain", '{"pod": "nobody"}', 404, "there is no pod 'nobody'; there are: gateway-0, "),
        ("undrain", '{"pod": "nobody"}', 404, "there is no pod 'nobody'; there are: gateway-0, "),
        ("move", '{"guilds": [], "pod": "gateway-0"}', 422, "move takes 1 to 1000 guilds"),
        (
            "move",
            '{"guilds": ["404"], "pod": "gateway-0"}',
            404,
            "guild 404 has no owner yet: `modbot ops guild` says why",
        ),
        ("pin", '{"guild": "1"}', 400, 'send {"guild": "ID", "pod": "NAME"}'),
        ("pin", '{"guild": "1", "pod": "nobody"}', 404, "there is no pod 'nobody'; there are: "),
        ("unpin", '{"guild": "404"}', 404, "guild 404 has no owner yet: `modbot ops guild`"),
        ("pause", '{"reason": 5}', 400, "send {}"),
        ("resume", "[]", 400, "send {}"),
        ("reshard", '{"count": 1}', 409, "the number of shards stays: there are 1 shards already"),
        ("reshard", '{"count": 0}', 409, "the number of shards is 1 to "),
        ("reshard", '{"count": 5000}', 409, "Discord grants "),
        ("reshard", '{"abort": true}', 409, "the number of shards is not being changed"),
    ],
)
async def test_a_request_that_cannot_be_done_is_answered_with_what_to_do(
    operator: Operator, verb: str, document: str, code: int, words: str
) -> None:
    said = await operator.cli.type("req", subjects.config_endpoint(verb), document)
    assert f"Nats-Service-Error-Code: {code}" in said.words
    body = json.loads(said.output)
    assert body["code"] == code
    assert words in body["error"]


async def test_a_pinned_guild_is_not_moved_elsewhere_and_the_answer_says_what_would_help(
    operator: Operator,
) -> None:
    guild = operator.guilds[1]
    owner = (await operator.owned())[guild].pod
    (other, *_) = {"gateway-0", "gateway-1", "gateway-2"} - {owner}
    await operator.req("pin", {"guild": guild, "pod": owner})
    await _until(operator, guild, pod=owner, pinned=owner)
    request = json.dumps({"guilds": [guild], "pod": other})
    said = await operator.cli.type("req", subjects.config_endpoint("move"), request, "--raw")
    assert json.loads(said.output) == {
        "code": 409,
        "error": f"guild {guild} is pinned to {owner}: unpin it, or pin it to {other}",
    }
    await operator.req("unpin", {"guild": guild})


async def test_nats_kv_get_shows_who_owns_a_guild_at_which_epoch(operator: Operator) -> None:
    guild = operator.guilds[0]
    owned = (await operator.owned())[guild]
    shown = (await operator.cli.type("kv", "get", storage.GUILDS, guild)).output
    for words in (f'"guild":"{guild}"', f'"pod":"{owned.pod}"', f'"epoch":{owned.epoch}'):
        assert words in shown
    whole = (await operator.cli.type("kv", "get", storage.GUILDS, guild, "--raw")).output
    assert decode(whole.encode(), Assignment) == owned
    assert "\n" not in whole.strip()


@pytest.mark.parametrize("user", ["edge", "shard", "gateway", "parent"])
async def test_nats_refuses_every_verb_to_who_is_not_the_operator(
    operator: Operator, tmp_path: Path, user: str
) -> None:
    live = operator.live
    seeds = Path(live.record.credentials["seeds"])
    other = NatsCli.connected(tmp_path, live.record.urls["nats"], seeds, user)

    async def refused(verb: str) -> None:
        subject = subjects.config_endpoint(verb)
        said = await other.type("req", subject, '{"pod": "gateway-0"}', "--timeout", "1s")
        assert f'Permissions Violation for Publish to "{subject}"' in said.words
        assert said.output.strip() == ""

    async with asyncio.TaskGroup() as group:
        for verb, *_ in CONFIG_ENDPOINTS:
            group.create_task(refused(verb))
