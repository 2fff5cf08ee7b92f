"""Options that say which stack is meant, shared by the commands that start or describe one."""

import argparse
import os

import msgspec

from components.cli.errors import CommandError
from components.process import exits
from components.process.settings import InvalidSettings, load
from components.stack.installation import NODES
from components.stack.settings import StackSettings


def add_home(parser: argparse.ArgumentParser) -> None:
    """``--home``: every command that looks for a stack has it."""
    parser.add_argument(
        "--home",
        metavar="FOLDER",
        help="folder of the stack's data (MODBOT_HOME; default .modbot)",
    )


def add_counts(parser: argparse.ArgumentParser) -> None:
    """How many replicas of each component."""
    for name, default in (("gateways", 2), ("shards", 1), ("configs", 2), ("edges", 1)):
        parser.add_argument(
            f"--{name}", type=_count, metavar="N", help=f"{name} to run (default {default})"
        )
    parser.add_argument(
        "--nats",
        type=int,
        choices=NODES,
        help="NATS servers: a cluster of 3 or 5 keeps every stream three times (default 1)",
    )
    parser.add_argument(
        "--traces", action="store_true", default=None, help="write spans to HOME/traces"
    )
    parser.add_argument("--log-level", metavar="LEVEL", help="of every component (default INFO)")


def home_of(options: argparse.Namespace) -> str:
    """The data folder that is meant."""
    return options.home or os.environ.get("MODBOT_HOME") or _settings().home


def settings_of(options: argparse.Namespace) -> StackSettings:
    """The settings: environment, overridden by options."""
    given = {
        field.name: value
        for field in msgspec.structs.fields(StackSettings)
        if (value := getattr(options, field.name, None)) is not None
    }
    return msgspec.structs.replace(_settings(), **{**given, "home": home_of(options)})


def _settings() -> StackSettings:
    try:
        return load(StackSettings, "STACK")
    except InvalidSettings as error:
        raise CommandError(str(error), exits.CONFIG) from error


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value
