"""How a component's process is set up before its work begins."""

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


def test_what_was_loaded_before_the_start_is_never_collected_again() -> None:
    """A full collection would otherwise stop the loop for as long as it takes to visit it all."""
    done = subprocess.run([sys.executable, "-c", MAIN], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "True"]
