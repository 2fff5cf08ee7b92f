"""A failed round keeps what its findings are about."""

import sqlite3
from pathlib import Path

import msgspec

from components.chaos.backups import Backups
from components.chaos.checker import History, Violations
from components.chaos.keeping import keep
from components.chaos.oracle import Held, Replayed
from components.chaos.watching import Watched
from components.traffic.evidence import Cut, Evidence
from contracts.ids import GuildId

GUILD = GuildId("42")


def history(backups: Backups) -> History:
    return History(
        evidence=Evidence(
            guilds=(GUILD,),
            cut=Cut(record=0, inputs={}),
            record=(),
            inputs=(),
            facts=(),
            mod_logs={},
        ),
        posted=(),
        probe_posts=(),
        answers=(),
        asked=(),
        shown=(),
        down=(),
        replays={
            GUILD: Replayed(
                dump=b"rows", dumps={4: b"rows"}, facts=set(), effects={}, applied=4, last=4
            )
        },
        held={},
        guild_of_channel={},
        backups=backups,
    )


def stack_with_replica(home: Path) -> Backups:
    """A stack whose bucket holds a replica, of which a database was restored."""
    (home / "logs").mkdir(parents=True)
    stored = home / "s3" / "modbot" / "pods" / "gateway-0" / "a-1"
    stored.mkdir(parents=True)
    (stored / "1.ltx").write_bytes(b"pages")
    file = home / "chaos" / "restored-gateway-0" / "replica.db"
    file.parent.mkdir(parents=True)
    database = sqlite3.connect(file)
    database.execute("CREATE TABLE kept (it INTEGER)")
    database.close()
    held = Held(pod="the replica of gateway-0", sequence=4, dump=b"rows", role="replica")
    return Backups(
        restored=1,
        held={GUILD: [held]},
        failures=[],
        files={"gateway-0": file},
        replicas={"gateway-0": "pods/gateway-0/a-1"},
    )


def kept(tmp_path: Path, backups: Backups) -> set[str]:
    folder = tmp_path / "evidence"
    keep(folder, tmp_path, history(backups), Violations(), Watched(), "a fault")
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_a_replica_that_differs_is_kept_as_dump_as_database_and_as_what_it_came_from(
    tmp_path: Path,
) -> None:
    backups = stack_with_replica(tmp_path)
    other = msgspec.structs.replace(backups.held[GUILD][0], dump=b"other rows")
    names = kept(tmp_path, msgspec.structs.replace(backups, held={GUILD: [other]}))
    assert {
        "dump-42-4-the-replica-of-gateway-0.ndjson",
        "dump-42-4-replayed.ndjson",
        "replicas/gateway-0.db",
        "replicas/gateway-0/1.ltx",
    } <= names


def test_a_replica_that_cannot_be_restored_is_kept_as_it_lies_in_the_bucket(
    tmp_path: Path,
) -> None:
    backups = stack_with_replica(tmp_path)
    failed = msgspec.structs.replace(backups, held={}, files={}, failures=["not a database"])
    names = kept(tmp_path, failed)
    assert "replicas/gateway-0/1.ltx" in names
    assert "replicas/gateway-0.db" not in names


def test_replicas_that_are_right_are_not_kept(tmp_path: Path) -> None:
    names = kept(tmp_path, stack_with_replica(tmp_path))
    assert [name for name in names if name.startswith("replicas")] == []


def test_a_database_that_is_damaged_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    backups = stack_with_replica(tmp_path)
    (tmp_path / "logs" / "gateway-0.log").write_text("words")
    for pod in ("gateway-0", "gateway-1"):
        (tmp_path / "pods" / pod).mkdir(parents=True)
    (tmp_path / "pods" / "gateway-0" / "gateway.db").write_bytes(b"no database at all" * 100)
    sqlite3.connect(tmp_path / "pods" / "gateway-1" / "gateway.db").close()
    names = kept(tmp_path, backups)
    assert {"violations.json", "gateway-1.db", "logs/gateway-0.log", "lacks.txt"} <= names
    (lacks,) = (tmp_path / "evidence" / "lacks.txt").read_text().splitlines()
    assert "gateway-0/gateway.db: DatabaseError" in lacks
