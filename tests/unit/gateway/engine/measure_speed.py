"""Measures how many clean messages a second the engine applies, in batches of 100, on disk.

Run: python -m tests.unit.gateway.engine.measure_speed
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from components.gateway.engine.model import LoggedInput
from components.gateway.engine.schema import open_database
from contracts.ids import GuildId
from contracts.inputs import DiscordDispatch
from tests.unit.gateway.engine.support import DAY_MS, T0, Log, message, snowflake

MESSAGES, GUILDS, BATCH = 20_000, 20, 100
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "and",
    "more",
    "words",
    "that",
    "people",
    "type",
]


def written(logs: list[Log]) -> list[LoggedInput]:
    """Twelve words each, 997 members, three channels, one message a member and half an hour."""
    items = []
    for number in range(MESSAGES):
        log = logs[number % GUILDS]
        log.now = T0 + number * 1500
        log.session_sequence += 1
        words = (WORDS[(number * 7 + i * 3) % len(WORDS)] for i in range(12))
        data = message(
            f"{' '.join(words)} {number}",
            at=log.now,
            channel=str(500 + number % 3),
            author=snowflake(T0 - 400 * DAY_MS, number % 997 + 1),
            guild=log.guild,
            number=number % 4000,
            roles=["3002", "3005"],
        )
        dispatch = DiscordDispatch(
            session="s1",  # type: ignore[arg-type]
            shard=0,
            sequence=log.session_sequence,
            previous=log.session_sequence - 1,
            event="MESSAGE_CREATE",
            data=msgspec.Raw(msgspec.json.encode(data)),
        )
        items.append(log.item(dispatch))
    return items


def main() -> None:
    """Print messages a second."""
    with TemporaryDirectory() as folder:
        database = open_database(Path(folder) / "pod.db")
        logs = [Log(guild=GuildId(str(1000 + n)), database=database) for n in range(GUILDS)]
        items = written(logs)
        engine = logs[0].engine
        started = time.perf_counter()
        for first in range(0, MESSAGES, BATCH):
            database.execute("BEGIN IMMEDIATE")
            for item in items[first : first + BATCH]:
                engine.apply(item)
            database.execute("COMMIT")
        took = time.perf_counter() - started
        print(f"{MESSAGES / took:.0f} messages/s, {took / MESSAGES * 1e6:.0f} us each")
        database.close()


if __name__ == "__main__":
    main()
