"""The thread that owns the database, and reads beside it."""

import asyncio
import hashlib
import threading
from pathlib import Path

from components.gateway.engine.dump import canonical_dump
from components.gateway.shell.applier import Applier
from contracts.ids import Epoch, GuildId, PodId
from contracts.requests import GetDigest, GuildDigest

GUILD = GuildId("1000")


async def test_a_large_read_holds_up_nobody_and_sees_what_is_committed(tmp_path: Path) -> None:
    applier = Applier(tmp_path / "pod.db")
    await applier.start()
    try:
        await applier.write(lambda engine: engine.create(GUILD, "g1"))
        dump = await applier.on_database(lambda database: canonical_dump(database, GUILD))
        busy, go_on = threading.Event(), threading.Event()

        def hold(_: object) -> None:
            busy.set()
            go_on.wait(10)

        held = asyncio.create_task(applier.write(hold))
        await asyncio.to_thread(busy.wait, 10)
        try:
            digest = await asyncio.wait_for(
                applier.read_aside(
                    lambda engine: engine.read(GUILD, GetDigest(), pod=PodId("p"), epoch=Epoch(1))
                ),
                5,
            )
        finally:
            go_on.set()
        await held
        assert isinstance(digest, GuildDigest)
        assert digest.sha256 == hashlib.sha256(dump).hexdigest()
        assert digest.rows == {"guilds": 1}
    finally:
        await applier.stop()


async def test_nobody_hears_of_a_result_after_the_pod_has_lost_its_lease(tmp_path: Path) -> None:
    applier = Applier(tmp_path / "pod.db")
    await applier.start()
    heard: list[list[GuildId]] = []

    def hear(guilds: list[GuildId]) -> None:
        heard.append(guilds)
        raise RuntimeError("the tasks that it would ask for are being cancelled")

    applier.deliver_no_more()
    applier.call(lambda engine: engine.guilds(), hear)
    await applier.stop()
    await applier.failed
    assert heard == []
