"""`python -m components.simulator`: serve until SIGINT or SIGTERM. Exits 2 on invalid settings."""

import asyncio
import logging
import signal
import sys

from components.simulator.bootstrap import running_simulator
from components.simulator.settings import Settings, SettingsError, from_environment


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = from_environment()
    except SettingsError as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 2
    asyncio.run(_serve(settings))
    return 0


async def _serve(settings: Settings) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with running_simulator(settings) as simulator:
        print(f"simulator ready {simulator.url}", flush=True)
        await stopped.wait()


if __name__ == "__main__":
    sys.exit(main())
