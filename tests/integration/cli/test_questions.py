"""Commands that ask on the bus, against owners and configs that are clients of a real server."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from nats.aio.msg import Msg

from components.bus.buckets import Bucket
from components.cli import __main__ as cli
from components.cli import asking
from components.process import exits
from contracts import headers, storage
from contracts.errors import ErrorCode
from contracts.facts import SignalScore
from contracts.ids import (
    CaseNumber,
    Epoch,
    Generation,
    GuildId,
    Incarnation,
    PodId,
    Sequence,
    UserId,
)
from contracts.message import Message, encode
from contracts.operations import (
    ClusterStatus,
    GuildPlacement,
    OwnershipChange,
    PodSummary,
    WaitingGuild,
)
from contracts.records import Assignment, PodLease, RegisteredGuild
from contracts.requests import (
    CaseList,
    CaseView,
    GuildStatus,
    QuarantinedInput,
    QuarantineList,
    SettingsView,
)
from contracts.settings import GuildSettings
from tests.support.nats import RunningNats

GUILD = GuildId("700000000000000001")
STATUS = GuildStatus(
    guild=GUILD,
    pod=PodId("gateway-0"),
    epoch=Epoch(3),
    applied=Sequence(41),
    engine_version=1,
    cases=2,
    outbox_pending=0,
    outbox_parked=0,
    facts_unpublished=0,
    quarantined=1,
)
PLACEMENT = GuildPlacement(
    guild=GUILD,
    name="Bakers",
    present=True,
    pod=PodId("gateway-0"),
    epoch=Epoch(3),
    state="served",
    history=[
        OwnershipChange(
            at_ms=1_700_000_000_000,
            epoch=Epoch(3),
            pod=PodId("gateway-0"),
            incarnation=Incarnation("a-1"),
            cause="restarted",
            by="config-0",
        )
    ],
)
CASE = CaseView(
    guild=GUILD,
    number=CaseNumber(7),
    user=UserId("5"),
    username="spammer",
    action="timeout",
    status="done",
    moderator_kind="bot",
    opened_ms=1_700_000_000_000,
)


class Asked:
    """A command as a person types it, and what it printed."""

    def __init__(self, server: RunningNats, capsys: pytest.CaptureFixture[str]) -> None:
        self.server = server
        self._capsys = capsys
        self.requests: list[Msg] = []

    async def __call__(self, *arguments: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(cli.run, list(arguments))
        printed = self._capsys.readouterr()
        return code, printed.out, printed.err

    async def owner(self, answer: Message, **fields: str) -> None:
        """Somebody who answers every request to a guild like this."""
        await self._answer("gateway", "modbot.rpc.*.>", answer, fields)

    async def config(self, status: ClusterStatus) -> None:
        await self._answer("config", "modbot.config.status", status, {})

    async def places(self, placement: GuildPlacement) -> None:
        await self._answer("config", "modbot.config.guild", placement, {})

    async def _answer(
        self, user: str, subject: str, answer: Message, fields: dict[str, str]
    ) -> None:
        bus = await self.server.connect(user)

        async def handle(message: Msg) -> None:
            self.requests.append(message)
            await bus.say(message.reply, encode(answer), fields)

        await bus.listen(subject, handle)
        await bus.barrier()


@pytest.fixture
def asked(
    nats_server: RunningNats, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Asked:
    monkeypatch.setenv("MODBOT_NATS_URL", nats_server.url)
    monkeypatch.setenv("MODBOT_NATS_SEED", nats_server.server.seeds["operator"])
    return Asked(nats_server, capsys)


async def test_a_guild_is_shown_with_its_owner_and_history(asked: Asked) -> None:
    await asked.places(PLACEMENT)
    await asked.owner(STATUS)
    code, out, _ = await asked("guild", GUILD)
    assert code == 0
    assert "Bakers (700000000000000001)" in out
    assert "gateway-0, epoch 3" in out
    assert "2023-11-14 22:13:20      3  gateway-0  restarted  config-0" in out


async def test_a_guild_that_waits_is_shown_with_the_reason(asked: Asked) -> None:
    waiting = msgspec.structs.replace(PLACEMENT, state="waiting", reason="no pod has room")
    await asked.places(waiting)
    code, out, _ = await asked("guild", GUILD, "show")
    assert code == 0
    assert "Bakers (700000000000000001) waits: no pod has room" in out


async def test_cases_are_listed_and_filtered(asked: Asked) -> None:
    await asked.owner(CaseList(cases=[CASE], next_before=CaseNumber(7)))
    code, out, _ = await asked("guild", GUILD, "cases", "--user", "5", "--limit", "1")
    assert code == 0
    assert "spammer" in out
    assert "more: --before 7" in out
    assert asked.requests[0].subject == f"modbot.rpc.{GUILD}.case.list"
    assert msgspec.json.decode(asked.requests[0].data) == {"user": "5", "limit": 1}


async def test_one_case_is_shown_as_json_where_a_script_wants_it(asked: Asked) -> None:
    await asked.owner(CASE)
    code, out, _ = await asked("guild", GUILD, "case", "7", "--json")
    assert code == 0
    assert msgspec.json.decode(out, type=CaseView) == CASE
    code, out, _ = await asked("guild", GUILD, "case", "7")
    assert "spammer" in out


async def test_one_case_is_told_in_words_with_its_verdict(asked: Asked) -> None:
    flagged = msgspec.structs.replace(
        CASE,
        action="remove_timeout",
        tier="high",
        score=17,
        signals=[SignalScore(name="mass_ping", points=10), SignalScore(name="rapid", points=-3)],
        until_ms=1_700_000_060_000,
    )
    await asked.owner(flagged)
    code, out, _ = await asked("guild", GUILD, "case", str(CASE.number))
    assert code == 0
    lines = dict(line.split("  ", 1) for line in out.splitlines())
    shown = {name: value.strip() for name, value in lines.items()}
    assert shown["action"] == "remove timeout"
    assert shown["verdict"] == "high, 17 points"
    assert shown["signals"] == "mass ping +10, rapid -3"
    assert shown["until (UTC)"] == "2023-11-14 22:14:20"
    assert "source" not in out


async def test_settings_are_alone_on_stdout_so_that_they_can_be_put_back(
    asked: Asked, tmp_path: Path
) -> None:
    await asked.owner(SettingsView(version=4, settings=GuildSettings()))
    code, out, err = await asked("guild", GUILD, "settings", "get")
    assert code == 0
    assert "version 4" in err
    file = tmp_path / "settings.json"
    file.write_text(out)
    code, _, _ = await asked(
        "guild", GUILD, "settings", "put", str(file), "--expected-version", "4"
    )
    assert code == 0
    put = asked.requests[-1]
    sent = msgspec.json.decode(put.data)
    assert sent["expected_version"] == 4
    assert sent["actor"]["kind"] == "operator"
    assert msgspec.json.decode(msgspec.json.encode(sent["settings"]), type=GuildSettings)
    assert put.headers is not None
    assert put.headers[headers.REQUEST_ID]


async def test_a_file_that_is_not_json_is_refused_before_anything_is_asked(
    asked: Asked, tmp_path: Path
) -> None:
    file = tmp_path / "settings.json"
    file.write_text("{")
    code, _, err = await asked("guild", GUILD, "settings", "put", str(file))
    assert code == 1
    assert "is not JSON" in err
    code, _, err = await asked("guild", GUILD, "settings", "put", str(tmp_path / "none"))
    assert code == 1
    assert "cannot be read" in err


async def test_what_was_set_aside_is_listed(asked: Asked) -> None:
    item = QuarantinedInput(
        sequence=Sequence(9), kind="dispatch", reason="malformed MESSAGE_CREATE", at_ms=0
    )
    await asked.owner(QuarantineList(inputs=[item]))
    code, out, _ = await asked("guild", GUILD, "quarantine")
    assert code == 0
    assert "malformed MESSAGE_CREATE" in out


async def test_a_skip_names_the_input_and_the_reason(asked: Asked) -> None:
    await asked.owner(STATUS)
    code, out, _ = await asked("guild", GUILD, "skip", "9", "--reason", "known defect")
    assert code == 0
    assert "gateway-0" in out
    sent = msgspec.json.decode(asked.requests[0].data)
    assert (sent["sequence"], sent["reason"]) == (9, "known defect")


async def test_a_refusal_is_told_in_the_owners_words(asked: Asked) -> None:
    await asked.owner(
        STATUS,
        **{
            headers.SERVICE_ERROR: "there is no case 7",
            headers.SERVICE_ERROR_CODE: str(ErrorCode.NOT_FOUND),
        },
    )
    code, _, err = await asked("guild", GUILD, "case", "7")
    assert code == 1
    assert "there is no case 7 (404)" in err


async def test_a_guild_between_two_owners_is_asked_again(asked: Asked) -> None:
    asking_ = asyncio.create_task(asked("guild", GUILD, "quarantine"))
    await asyncio.sleep(0.5)
    await asked.owner(QuarantineList(inputs=[]))
    code, out, _ = await asking_
    assert code == 0
    assert "no input was set aside" in out


async def test_a_guild_that_nobody_serves_is_told(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "DEADLINE_S", 0.3)
    code, _, err = await asked("guild", GUILD, "quarantine")
    assert code == 1
    assert f"nobody serves guild {GUILD}" in err


async def test_an_answer_that_is_not_understood_is_told(asked: Asked) -> None:
    await asked.owner(STATUS)
    code, _, err = await asked("guild", GUILD, "cases")
    assert code == 1
    assert "not understood" in err


async def test_guilds_are_listed_with_their_owners_and_those_left_are_not(asked: Asked) -> None:
    shard = Bucket(await asked.server.connect("shard"), storage.REGISTRY)
    for guild, present in (("10", True), ("9", True), ("11", False)):
        seen = RegisteredGuild(
            guild=GuildId(guild), name=f"guild {guild}", shard=0, present=present, seen_ms=1
        )
        await shard.put(guild, encode(seen))
    assignment = Assignment(
        guild=GuildId("9"),
        pod=PodId("gateway-1"),
        incarnation=Incarnation("i-1"),
        epoch=Epoch(4),
        first_sequence=Sequence(1),
        generation=Generation("g"),
        cause="placed",
        since_ms=1_700_000_000_000,
    )
    config = Bucket(await asked.server.connect("config"), storage.GUILDS)
    await config.put("9", encode(assignment))
    code, out, _ = await asked("guilds")
    assert code == 0
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["9", "guild", "9", "gateway-1", "4", "2023-11-14", "22:13:20"],
        ["10", "guild", "10", "nobody"],
    ]
    code, out, _ = await asked("guilds", "--json")
    assert [row["guild"]["guild"] for row in msgspec.json.decode(out)] == ["9", "10"]


async def test_status_shows_pods_and_what_waits(asked: Asked) -> None:
    pod = PodSummary(pod=PodId("gateway-0"), state="serving", guilds=3, open=2, capacity=10)
    waiting = WaitingGuild(guild=GUILD, name="Bakers", reason="no pod has room")
    await asked.config(
        ClusterStatus(
            leader="config-0",
            replica="config-1",
            pods=[pod],
            guilds=3,
            waiting=[waiting],
            waiting_total=2,
            database="down",
        )
    )
    code, out, _ = await asked("status")
    assert code == 1
    assert "database down" in out
    assert "gateway-0  serving       3     2        10" in out
    assert "no pod has room" in out
    assert "and 1 more" in out
    code, out, _ = await asked("status", "--json")
    assert code == 1
    assert msgspec.json.decode(out)["waiting_total"] == 2


async def test_status_is_good_when_everything_is_served(asked: Asked) -> None:
    await asked.config(
        ClusterStatus(
            leader="config-0",
            replica="config-0",
            pods=[],
            guilds=0,
            waiting=[],
            waiting_total=0,
            database="up",
        )
    )
    assert (await asked("status"))[0] == 0


async def test_status_without_config_says_what_is_missing(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "DEADLINE_S", 0.3)
    code, _, err = await asked("status")
    assert code == 1
    assert "no config process answers" in err


async def test_ready_follows_the_pods_lease(asked: Asked, tmp_path: Path) -> None:
    assert await asked("ready", "gateway", "gateway-0") == (1, "not ready\n", "")
    bus = await asked.server.connect("gateway")
    lease = PodLease(
        pod=PodId("gateway-0"),
        data="d",
        state="serving",
        capacity=10,
        version="1",
        engine_version=1,
        started_ms=1,
    )
    await bus.append(f"$KV.{storage.PODS}.gateway-0", encode(lease))
    assert (await asked("ready", "gateway", "gateway-0"))[0] == 0
    seed = tmp_path / "operator.nk"
    seed.write_text(asked.server.server.seeds["operator"])
    at = ("--nats", asked.server.url, "--seed-file", str(seed))
    assert (await asked("ready", *at, "gateway", "gateway-0"))[0] == 0
    assert (await asked("ready", *at, "gateway", "gateway-1"))[0] == 1


async def test_provision_is_idempotent_and_names_the_streams(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODBOT_NATS_SEED", asked.server.server.seeds["provisioner"])
    for _ in range(2):
        code, out, _ = await asked("provision")
        assert code == 0
        assert "INPUTS" in out


async def test_a_seed_that_the_server_does_not_know_is_told(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODBOT_NATS_SEED", asked.server.server.seeds["shard"])
    code, _, err = await asked("status")
    assert code == 1
    assert "Traceback" not in err
    monkeypatch.setenv("MODBOT_NATS_SEED", "")
    code, _, err = await asked("status")
    assert code == exits.CONFIG
    assert "MODBOT_NATS_SEED" in err
