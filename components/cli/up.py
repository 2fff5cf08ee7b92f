"""``modbot up``: the whole stack as ordinary processes, until Ctrl-C."""

import argparse
import asyncio
import errno
import os
import sys

from components.binaries import MissingBinary
from components.cli.errors import CommandError
from components.cli.stack_options import add_counts, add_home, settings_of
from components.cli.up_traffic import add_traffic, post, traffic_of
from components.process import exits
from components.process.settings import InvalidSettings
from components.stack.account import check
from components.stack.bootstrap import up
from components.stack.errors import AccountRefused, Refused, StackError
from components.stack.permissions import invite_link, needed
from components.stack.postgres import CannotPrepare
from components.stack.running import RunningStack
from components.stack.screen import Screen
from components.stack.settings import StackSettings


def main(arguments: list[str]) -> int:
    """Run until a signal; returns the exit code."""
    options = _parser().parse_args(arguments)
    settings = settings_of(options)
    screen = Screen(sys.stderr if options.json else sys.stdout)
    try:
        asyncio.run(_up(settings, options, screen))
    except (InvalidSettings, MissingBinary, CannotPrepare, AccountRefused, Refused) as error:
        raise CommandError(str(error), exits.CONFIG) from error
    except StackError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(words_of(error)) from error
    return 0


async def _up(settings: StackSettings, options: argparse.Namespace, screen: Screen) -> None:
    account = None
    traffic = traffic_of(options)
    if token := os.environ.get("DISCORD_TOKEN", "").strip():
        account = await check(
            token,
            api_url=os.environ.get("MODBOT_DISCORD_API_URL", ""),
            gateway_url=os.environ.get("MODBOT_DISCORD_GATEWAY_URL", ""),
        )
        link = invite_link(account.application_id, needed())
        screen.line(f"Discord accepts the token. Invite the bot to a server: {link}")

    async def work(stack: RunningStack) -> None:
        if traffic is not None and stack.simulated:
            await post(traffic, stack, screen)

    await up(
        settings,
        screen=screen,
        account=account,
        reset=options.reset,
        as_json=options.json,
        work=work,
    )


def words_of(error: OSError) -> str:
    """What an error of the system means for a person."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{where}: make room, or name a folder elsewhere with --home"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"not allowed{where}: name a folder that you may write to with --home"
    return f"{error.strerror or error}{where}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modbot up",
        description="Start NATS, PostgreSQL, S3, a simulated Discord and every component, in "
        "order; show them until Ctrl-C; stop them in order. A second `modbot up` continues with "
        "the data.",
        epilog="With DISCORD_TOKEN set it is the real Discord. An address in MODBOT_STACK_NATS_URL "
        "(with MODBOT_STACK_NATS_SEEDS), MODBOT_STACK_DATABASE_URL or MODBOT_STACK_S3_ENDPOINT is "
        "used instead of a server of its own.",
    )
    add_home(parser)
    add_counts(parser)
    add_traffic(parser)
    parser.add_argument("--reset", action="store_true", help="remove the data of the stack first")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object on stdout when everything is ready; progress goes to stderr",
    )
    return parser
