"""Finds the sub-command and runs it; turns errors into words and an exit code.

``modbot`` alone with ``SERVICE_MODE`` set is ``modbot run``.
"""

import importlib
import logging
import os
import sys
from typing import Final, NoReturn

from components.cli.errors import CommandError

COMMANDS: Final = {
    "run": "start one component from environment settings",
    "up": "start the whole stack on this machine",
    "status": "what runs where: pods, guilds, what waits and why",
    "ops": "look after the cluster: drain, move, pin, rebalance, history",
    "guilds": "which guilds there are and who owns them",
    "guild": "look into one guild: state, settings, cases, inputs set aside",
    "restore": "one guild as it was at a time; parts of it put back",
    "drill": "restore backups into scratch and compare every guild with its owner",
    "traffic": "what became of the texts that simulated members posted",
    "bench": "measure the stack beside a baseline",
    "simulate": "run the ownership machines through faults in virtual time",
    "chaos": "break the stack on purpose and check the whole history",
    "processes": "the processes that `modbot up` would start, as data",
    "provision": "create the streams and buckets on NATS",
    "ready": "whether a replica is ready (exit code 0 or 1)",
}
USAGE: Final = 64
"""Wrong arguments (sysexits' EX_USAGE)."""


def main() -> NoReturn:
    """The console command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line; returns the exit code."""
    if not arguments and os.environ.get("SERVICE_MODE"):
        arguments = ["run"]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if arguments else USAGE
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"modbot: no command {name!r}\n\n{_help()}", file=sys.stderr)
        return USAGE
    if name != "run":
        logging.getLogger().addHandler(logging.NullHandler())  # a command speaks for itself
    command = importlib.import_module(f"components.cli.{name}")
    try:
        return int(command.main(rest))
    except CommandError as error:
        print(f"modbot {name}: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _help() -> str:
    lines = ["usage: modbot COMMAND [options]", ""]
    lines += [f"  {name:<12} {purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join([*lines, "", "`modbot COMMAND --help` shows a command's options."])


if __name__ == "__main__":
    main()
