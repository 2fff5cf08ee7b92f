"""A guild as it was, from real replicas in S3 and its log on a real NATS."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from components.cli.drill import text_of
from components.gateway.engine.dump import canonical_dump
from components.gateway.engine.engine import Engine
from components.gateway.engine.schema import open_database
from components.gateway.settings import BackupSettings
from components.restoring.drill import Driller, PodDrill
from components.restoring.errors import CannotRebuild, TooEarly
from components.restoring.rebuild import Rebuilt, rebuilt
from components.restoring.replay import Replay
from contracts.ids import GuildId, Sequence
from contracts.inputs import SkipInput, skip_id
from tests.integration.restoring.pod import (
    GUILD,
    OPERATOR,
    REPLICA,
    Pod,
    expire,
    now_ms,
    opened,
    settings,
)
from tests.support.nats import RunningNats
from tests.support.s3 import Store, running_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with running_store(tmp_path / "s3") as store:
        yield store


@pytest.fixture
async def pod(nats_server: RunningNats, store: Store, tmp_path: Path) -> AsyncIterator[Pod]:
    made = Pod(nats_server, store, tmp_path / "pod")
    await made.begin()
    yield made
    await made.close()


LOST, ELSEWHERE = GuildId("700000000000000002"), GuildId("700000000000000003")


class Tool:
    """What an operator has: a connection, the bucket, a scratch folder."""

    def __init__(self, nats: RunningNats, store: Store, scratch: Path) -> None:
        self._nats = nats
        self._scratch = scratch
        self.settings: BackupSettings | None = store.settings
        self.said: list[str] = []
        self.verdict = ""

    async def rebuild(self, at_ms: int) -> tuple[Rebuilt, int, bool | None]:
        """The guild at the moment: what was rebuilt, its timeout, and whether today is right."""
        bus = await self._nats.connect("operator")
        async with rebuilt(bus, self.settings, GUILD, at_ms, self._scratch, self.said.append) as it:
            today = await it.now()
            return it, it.then.settings.spam.timeout_s, today.equal

    async def drill(self) -> PodDrill:
        assert self.settings is not None
        bus = await self._nats.connect("operator")
        driller = Driller(bus, self.settings, self._scratch, self.said.append)
        drilled = await driller.drill({"gateway-0": REPLICA})
        (found,) = drilled.pods
        assert drilled.ok == (found.ok and drilled.checked > 0)
        self.verdict = text_of(drilled).splitlines()[-1]
        return found


@pytest.fixture
def tool(nats_server: RunningNats, store: Store, tmp_path: Path) -> Tool:
    return Tool(nats_server, store, tmp_path / "scratch")


async def test_a_guild_is_rebuilt_from_the_newest_state_before_the_moment_and_its_log(
    pod: Pod, tool: Tool
) -> None:
    await pod.settings(100)
    await pod.backed_up()
    moments = {timeout_s: await pod.settings(timeout_s) for timeout_s in (200, 300)}
    await pod.backed_up()
    moments[400] = await pod.settings(400)
    for timeout_s, at_ms in moments.items():
        found, then_s, equal = await tool.rebuild(at_ms)
        assert (then_s, equal) == (timeout_s, True)
        assert found.base.kind == "replica"
    assert found.base.sequence > 2, "not from the first backup"


async def test_the_earliest_moment_is_told_once_the_log_has_forgotten_its_beginning(
    pod: Pod, tool: Tool, nats_server: RunningNats
) -> None:
    forgotten_ms = await pod.settings(100)
    await pod.settings(200)
    kept_ms = await pod.settings(300)
    await pod.backed_up()
    later_ms = await pod.settings(400)
    await expire(nats_server, Sequence(4))
    found, then_s, equal = await tool.rebuild(later_ms)
    assert (then_s, equal, found.base.kind) == (400, True, "replica")
    with pytest.raises(TooEarly, match="or later") as refused:
        await tool.rebuild(forgotten_ms)
    assert forgotten_ms < refused.value.earliest_ms <= kept_ms
    found, then_s, equal = await tool.rebuild(refused.value.earliest_ms)
    assert equal is True
    assert found.base.earliest_ms == refused.value.earliest_ms


async def test_a_guild_that_nothing_holds_any_more_is_refused(
    pod: Pod, tool: Tool, nats_server: RunningNats
) -> None:
    await pod.backed_up()
    await pod.settings(100)
    await pod.settings(200)
    await expire(nats_server, Sequence(3))
    tool.settings = None
    with pytest.raises(CannotRebuild, match="does not hold its first input"):
        await tool.rebuild(now_ms())


async def test_without_backups_a_young_guild_is_rebuilt_from_its_log(pod: Pod, tool: Tool) -> None:
    at_ms = await pod.settings(100)
    await pod.settings(200)
    tool.settings = None
    found, then_s, equal = await tool.rebuild(at_ms)
    assert (then_s, equal, found.base.kind) == (100, True, "log")


async def test_a_damaged_state_is_passed_over_and_said(pod: Pod, tool: Tool, store: Store) -> None:
    await pod.settings(100)
    await pod.backed_up()
    await pod.settings(200)
    await pod.backed_up()
    await pod.close_backup()
    at_ms = now_ms()
    damage(store)
    _, then_s, equal = await tool.rebuild(at_ms)
    assert (then_s, equal) == (200, True)
    assert any("cannot be restored" in words for words in tool.said)


async def test_what_differs_from_the_owner_is_not_passed_off_as_the_guild(
    pod: Pod, tool: Tool
) -> None:
    at_ms = await pod.settings(100)
    await pod.backed_up()
    await pod.close_backup()
    pod.database.execute("UPDATE guilds SET name = 'written past the engine'")
    _, _, equal = await tool.rebuild(at_ms)
    assert equal is False
    drilled = await tool.drill()
    assert not drilled.ok
    assert [guild.result for guild in drilled.guilds] == ["differs"]
    assert drilled.guilds[0].reason == "the same numbers of rows, other values"


async def test_a_drill_compares_at_the_owners_checkpoint(pod: Pod, tool: Tool) -> None:
    await pod.settings(100)
    await pod.backed_up()
    for timeout_s in (200, 300):
        await pod.settings(timeout_s)
    drilled = await tool.drill()
    assert (drilled.ok, drilled.newest, drilled.restored) == (True, True, True)
    (guild,) = drilled.guilds
    assert guild.result == "equal"
    checkpoint = Engine(pod.database).checkpoint(GUILD)
    assert checkpoint is not None
    assert guild.compared == checkpoint.sequence
    assert guild.restored <= checkpoint.sequence


async def test_a_drill_finds_what_the_pod_owns_and_its_replica_does_not_hold(
    pod: Pod, tool: Tool
) -> None:
    await pod.assign(LOST, since_ms=now_ms() - 600_000)
    await pod.assign(ELSEWHERE, since_ms=now_ms() - 600_000, incarnation="two-2")
    await pod.backed_up()
    drilled = await tool.drill()
    assert (drilled.ok, drilled.owned) == (False, 2)
    assert {guild.guild: guild.result for guild in drilled.guilds} == {
        GUILD: "equal",
        LOST: "missing",
    }
    assert "all are equal" not in tool.verdict


async def test_a_guild_that_came_to_the_pod_lately_need_not_be_in_its_replica(
    pod: Pod, tool: Tool
) -> None:
    await pod.backed_up()
    await pod.assign(LOST, since_ms=now_ms() - 1000)
    drilled = await tool.drill()
    assert drilled.ok
    results = {guild.guild: (guild.result, guild.compared) for guild in drilled.guilds}
    assert results[LOST] == ("not_yet", None)
    assert "1 guilds were compared with their owners: all are equal, and 1 not" in tool.verdict


async def test_a_drill_of_a_replica_without_a_guild_does_not_call_all_equal(
    pod: Pod, tool: Tool
) -> None:
    Engine(pod.database).drop(GUILD)
    await pod.backed_up()
    await pod.assign(GUILD, since_ms=now_ms() - 600_000)
    drilled = await tool.drill()
    assert (drilled.ok, [guild.result for guild in drilled.guilds]) == (False, ["missing"])
    await pod.unassign(GUILD)
    drilled = await tool.drill()
    assert (drilled.restored, drilled.guilds) == (True, [])
    assert tool.verdict == "nothing was compared: this says nothing about the backups"


async def test_a_drill_fails_when_only_an_earlier_state_is_whole(
    pod: Pod, tool: Tool, store: Store
) -> None:
    await pod.settings(100)
    await pod.backed_up()
    await pod.settings(200)
    await pod.backed_up()
    await pod.close_backup()
    damage(store)
    drilled = await tool.drill()
    assert (drilled.ok, drilled.restored, drilled.newest) == (False, True, False)
    assert "cannot be restored" in drilled.reason
    assert [guild.result for guild in drilled.guilds] == ["equal"], "the log gives the rest"


async def test_a_drill_fails_when_the_log_does_not_continue_the_replica(
    pod: Pod, tool: Tool, nats_server: RunningNats
) -> None:
    await pod.backed_up()
    await pod.close_backup()
    for timeout_s in (100, 200, 300):
        await pod.settings(timeout_s)
    await expire(nats_server, Sequence(4))
    drilled = await tool.drill()
    assert not drilled.ok
    assert [guild.result for guild in drilled.guilds] == ["not_compared"]
    assert "the log begins at 4" in drilled.guilds[0].reason


async def test_a_replay_skips_what_the_log_says_to_skip_later(pod: Pod) -> None:
    await pod.settings(100)
    poison = await pod.append(settings(200))
    word = SkipInput(sequence=poison, reason="kills the pod", actor=OPERATOR)
    last = await pod.append(word, skip_id(GUILD, poison))
    database = open_database(":memory:")
    Engine(database).create(GUILD, "g")
    before = Replay(pod.bus, database, GUILD)
    await before.reach(poison)
    assert before.checkpoint.sequence == poison
    await before.reach(last)
    assert database.execute("SELECT max(version) FROM settings").fetchone() == (1,)
    assert database.execute("SELECT sequence FROM quarantine").fetchall() == [(poison,)]


async def test_a_replay_stops_where_the_guild_is_parked_until_somebody_says_to_skip(
    pod: Pod,
) -> None:
    await pod.settings(100)
    poison = await pod.append(settings(200))
    last = await pod.append(opened(2))
    engine = Engine(pod.database)
    engine.park(GUILD, poison, "kills the pod")
    at = canonical_dump(pod.database, GUILD)
    replay = Replay(pod.bus, pod.database, GUILD)
    await replay.forward()
    assert canonical_dump(pod.database, GUILD) == at
    word = SkipInput(sequence=poison, reason="kills the pod", actor=OPERATOR)
    await pod.append(word, skip_id(GUILD, poison))
    await replay.reach(last)
    assert replay.checkpoint.parked_at is None


def damage(store: Store) -> None:
    """One byte of what ends with the newest transaction is another."""
    files = store.files(REPLICA)
    newest = max(file.stem.split("-")[1] for file in files)
    for file in files:
        if file.stem.endswith(newest):
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 0xFF
            file.write_bytes(content)
