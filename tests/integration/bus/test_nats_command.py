"""What operators type: the real ``nats`` command against a provisioned server."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from nats.micro import add_service
from nats.micro.service import ServiceConfig

from components.bus.buckets import Bucket
from components.bus.stream import bounds
from contracts import storage, subjects
from contracts.ids import Epoch, Generation, GuildId, Incarnation, PodId, Sequence
from contracts.message import decode, encode
from contracts.records import Assignment
from tests.support.nats import RunningNats
from tests.support.nats_cli import NatsCli

GUILD = GuildId("42")


@pytest.fixture
def cli(nats_server: RunningNats, tmp_path: Path) -> NatsCli:
    """The command as an operator."""
    return NatsCli.at(tmp_path / "cli", nats_server)


async def heard(process: asyncio.subprocess.Process, words: bytes) -> bytes:
    """What the command printed up to the words."""
    assert process.stdout is not None
    return await asyncio.wait_for(process.stdout.readuntil(words), 10)


async def test_an_operator_reads_an_assignment_as_json(
    nats_server: RunningNats, cli: NatsCli
) -> None:
    bus = await nats_server.connect("config")
    assignment = Assignment(
        guild=GUILD,
        pod=PodId("gateway-0"),
        incarnation=Incarnation("one"),
        epoch=Epoch(3),
        first_sequence=Sequence(1),
        generation=Generation("2026"),
        cause="placed",
        since_ms=1,
    )
    await Bucket(bus, storage.GUILDS).put(GUILD, encode(assignment))
    said = await cli.type("kv", "get", "guilds", GUILD, "--raw")
    assert said.code == 0, said.words
    assert decode(said.output.encode(), Assignment) == assignment
    shown = await cli.type("kv", "get", "guilds", GUILD)
    assert '"epoch":3' in shown.output.replace(" ", "")


async def test_an_operator_sees_streams_consumers_and_objects(
    nats_server: RunningNats, cli: NatsCli
) -> None:
    bus = await nats_server.connect("shard")
    await bus.append(subjects.inputs(GUILD), b"{}")
    said = await cli.type("stream", "info", storage.INPUTS, "--json")
    assert said.code == 0, said.words
    info = msgspec.json.decode(said.output)
    assert (info["state"]["messages"], info["config"]["discard"]) == (1, "new")
    for words in (
        ["stream", "report"],
        ["stream", "get", storage.INPUTS, "1"],
        ["consumer", "ls", storage.INPUTS],
        ["object", "ls", storage.SNAPSHOTS],
        ["account", "info"],
    ):
        said = await cli.type(*words)
        assert said.code == 0, (words, said.words)
        assert "ermissions" not in said.words, words


async def test_an_operator_watches_leases_change(nats_server: RunningNats, cli: NatsCli) -> None:
    bus = await nats_server.connect("gateway")
    pods = Bucket(bus, storage.PODS)
    await pods.put("gateway-0", b'{"state":"starting"}')
    async with cli.running("kv", "watch", storage.PODS) as process:
        await heard(process, b'{"state":"starting"}')
        await pods.put("gateway-0", b'{"state":"serving"}')
        await heard(process, b'{"state":"serving"}')


async def test_an_operator_hears_facts_and_reads_those_before(
    nats_server: RunningNats, cli: NatsCli
) -> None:
    bus = await nats_server.connect("gateway")
    await bus.append(subjects.event(GUILD, "case.opened"), b'{"case":1}')
    async with cli.running("sub", subjects.EVENTS_WILDCARD, "--stream", storage.EVENTS) as process:
        await heard(process, b'{"case":1}')
        await bus.append(subjects.event(GUILD, "case.opened"), b'{"case":2}')
        await heard(process, b'{"case":2}')


async def test_an_operator_finds_the_config_service(nats_server: RunningNats, cli: NatsCli) -> None:
    bus = await nats_server.connect("config")
    service = await add_service(bus.client, ServiceConfig(name="modbot-config", version="1.0.0"))
    said = await cli.type("micro", "ls")
    assert "modbot-config" in said.output, said.words
    await service.stop()


async def test_an_operator_writes_nothing(nats_server: RunningNats, cli: NatsCli) -> None:
    said = await cli.type("pub", subjects.inputs(GUILD), "x")
    assert said.code != 0
    assert "Permissions Violation for Publish" in said.words
    bus = await nats_server.connect("gateway")
    assert (await bounds(bus, storage.INPUTS)).messages == 0


@pytest.mark.parametrize(
    "words",
    [
        ("sub", subjects.LIVE_WILDCARD),
        ("sub", "_INBOX_operator.>"),
        ("pub", "modbot.rpc.42.guild.erase", "{}"),
        ("pub", "$KV.guilds.42", "{}"),
        ("pub", "modbot.config.drain", "{}"),
    ],
)
async def test_the_server_refuses_the_edges_key_what_is_not_the_edges(
    nats_server: RunningNats, tmp_path: Path, words: tuple[str, ...]
) -> None:
    edge = NatsCli.at(tmp_path / "cli", nats_server, "edge")
    said = await edge.type(*words)
    assert said.code != 0
    assert f'to "{words[1]}"' in said.words
    assert "Permissions Violation" in said.words


async def test_a_key_that_is_no_users_is_not_let_in(
    nats_server: RunningNats, tmp_path: Path
) -> None:
    stranger = RunningNats(tmp_path / "other")  # another installation's keys
    (nats_server.folder / "keys" / "stranger.nk").write_text(stranger.server.seeds["operator"])
    (tmp_path / "cli").mkdir()
    said = await NatsCli.at(tmp_path / "cli", nats_server, "stranger").type("stream", "ls")
    assert said.code != 0
    assert "Authorization Violation" in said.words
