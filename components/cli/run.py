"""``modbot run COMPONENT``: one component, from environment settings, until SIGTERM."""

import argparse
import gc
import importlib
import os
from typing import Final, cast

from components.process.run import Main, run

SERVICES: Final = ("shard", "gateway", "config", "edge", "simulator")


def main(arguments: list[str]) -> int:
    """Run it; returns the exit code (78: starting it again cannot help)."""
    parser = argparse.ArgumentParser(
        prog="modbot run",
        description="Start one component from environment settings (MODBOT_*).",
        epilog="Each component's README lists its settings.",
    )
    parser.add_argument(
        "component",
        nargs="?",
        choices=SERVICES,
        metavar="|".join(SERVICES),
        help="what to start; SERVICE_MODE names it when it is not given",
    )
    component = parser.parse_args(arguments).component or os.environ.get("SERVICE_MODE", "")
    if component not in SERVICES:
        given = f"SERVICE_MODE is {component!r}" if component else "SERVICE_MODE is not set"
        parser.error(f"name a component, one of {', '.join(SERVICES)} ({given})")
    return run(_main_of(component))


def _main_of(component: str) -> Main:
    gc.disable()  # what is loaded stays: of 0.5 s, looking for garbage in it takes 0.08
    try:
        if component == "gateway":
            parent = importlib.import_module("components.gateway.parent")
            if parent.wanted():
                return cast("Main", parent.main)
        return cast("Main", importlib.import_module(f"components.{component}.bootstrap").main)
    finally:
        gc.enable()
