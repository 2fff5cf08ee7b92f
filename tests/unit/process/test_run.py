"""How a component's process is set up before its work begins, and what it says when it does not
end."""

import subprocess
import sys

MAIN = """
import asyncio, gc, sys
from components.process.run import run

async def main(stop: asyncio.Event) -> None:
    loaded = {id(thing) for thing in gc.get_objects()}
    print(id(sys.modules) in loaded, gc.get_freeze_count() > 1000, gc.get_threshold()[0] > 700)

sys.exit(run(main))
"""

SLOW = """
import asyncio, logging, os, signal, sys
from components.process import run as process

class Told(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage().splitlines()[0])
        told.set()

async def guild(told: asyncio.Event, stuck: bool) -> None:
    if stuck:
        await told.wait()
    await told.wait()

async def main(stop: asyncio.Event) -> None:
    global told
    told = asyncio.Event()
    guilds = [asyncio.create_task(guild(told, n == 7)) for n in range(1000)]
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.gather(*guilds)

process.SLOW_STOP_S = 0
logging.getLogger("components.process.run").addHandler(Told(logging.WARNING))
sys.exit(process.run(main))
"""


def test_what_was_loaded_before_the_start_is_never_collected_again() -> None:
    """A full collection would otherwise stop the loop for as long as it takes to visit it all."""
    done = subprocess.run([sys.executable, "-c", MAIN], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "True"]


def test_a_stop_that_takes_long_says_once_of_each_place_what_runs_there() -> None:
    """A line for each of a thousand tasks would keep the loop from renewing a lease."""
    done = subprocess.run([sys.executable, "-c", SLOW], capture_output=True, text=True, check=True)
    told = [line for line in done.stdout.splitlines() if "still running" in line]
    assert len(told) < 10
    guilds = sorted(line.split(maxsplit=1)[0] for line in told if "coro=<guild()" in line)
    assert guilds == ["1", "999"]
