"""``modbot ops``: typed as an operator does, against a real config, NATS and PostgreSQL."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from components.cli import __main__ as cli
from tests.integration.config.cluster import Cluster
from tests.support.nats import RunningNats
from tests.support.postgres import RunningPostgres

GUILDS = [str(number) for number in range(1, 11)]
Typed = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
async def cluster(
    nats_server: RunningNats, postgres_server: RunningPostgres
) -> AsyncIterator[Cluster]:
    running = Cluster(nats_server, postgres_server, await postgres_server.new_database())
    await running.connect()
    try:
        await running.pause()
        running.config()
        for name in ("gateway-0", "gateway-1"):
            await running.pod(name, zone="eu-1")
        await running.register(*GUILDS)
        await running.until_followed(*GUILDS)
        await running.until_opened(*GUILDS)
        await running.status_when_ready()
        yield running
    finally:
        await running.close()


@pytest.fixture
def typed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    """Type a command; its exit code and what it printed."""
    settings = cluster.nats.settings("operator")
    monkeypatch.setenv("MODBOT_NATS_URL", settings.url)
    monkeypatch.setenv("MODBOT_NATS_SEED", settings.seed)

    async def run(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = await asyncio.to_thread(cli.run, ["ops", *words])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


async def test_an_operator_looks_at_the_cluster(cluster: Cluster, typed: Typed) -> None:
    code, text = await typed("status")
    assert code == 0
    assert "guilds                    10" in text
    assert "balance                   paused by the test" in text
    for heading in ("backup lag s", "REST/s", "follows", "zone"):
        assert heading in text
    code, text = await typed("pods", "--json")
    assert [pod["guilds"] for pod in json.loads(text)["pods"]] == [5, 5]
    code, text = await typed("guild", "1")
    assert (code, "follower  gateway-" in text, "placed" in text) == (0, True, True)
    code, text = await typed("guilds", "--limit", "3")
    assert "… and 7 more: --after 3" in text
    code, text = await typed("plan")
    assert text.startswith("0 moves; the heaviest pod over the mean: 1.00 now")
    code, text = await typed("history", "--limit", "1000")
    assert text.count("placed") == 10


async def test_a_drain_is_watched_until_it_is_done(cluster: Cluster, typed: Typed) -> None:
    await cluster.pod("gateway-2")
    code, text = await typed("drain", "gateway-0", "--watch", "--by", "alice")
    assert code == 0
    assert text.splitlines()[0].startswith("drain gateway-0: operation ")
    assert text.splitlines()[-1] == "drain gateway-0: 10 of 10, done"
    assert all(owned.pod != "gateway-0" for owned in (await cluster.assignments()).values())
    code, text = await typed("history", "--pod", "gateway-0", "--limit", "1000")
    assert text.count("drained") == 5
    assert await typed("undrain", "gateway-0") == (0, "gateway-0 takes guilds again\n")


async def test_a_guild_is_moved_and_pinned_by_hand(cluster: Cluster, typed: Typed) -> None:
    target = (await cluster.assignments())["1"].follower
    assert target is not None
    code, text = await typed("move", target.pod, "1", "--watch")
    assert (code, text.splitlines()[-1]) == (0, f"move guilds to {target.pod}: 1 of 1, done")
    code, text = await typed("pin", "1", target.pod, "--watch", "--json")
    assert code == 0
    code, text = await typed("guild", "1")
    assert f"pinned to  {target.pod}" in " ".join(text.split(" ")) or target.pod in text
    assert (await typed("unpin", "1"))[0] == 0
    assert (await typed("resume"))[1] == "config spreads guilds by itself\n"
    assert (await typed("rebalance", "--watch"))[0] == 0


async def test_what_cannot_be_done_is_said_in_words(cluster: Cluster, typed: Typed) -> None:
    code, text = await typed("drain", "gateway-9")
    assert code != 0
    assert text == (
        "modbot ops: there is no pod 'gateway-9'; there are: gateway-0, gateway-1 (404)\n"
    )


@pytest.mark.parametrize("user", ["edge", "gateway"])
async def test_another_users_seed_is_refused_by_nats(
    cluster: Cluster, typed: Typed, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    monkeypatch.setenv("MODBOT_NATS_SEED", cluster.nats.settings(user).seed)
    code, _ = await typed("pause")
    assert code != 0
    assert not (await cluster.fetch("SELECT 1 FROM operations"))
