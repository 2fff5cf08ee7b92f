"""``modbot ops VERB``: everything that operators ask of config and tell it to do.

Each verb is a request to ``modbot.config.<verb>`` (`contracts.operations`); ``nats req`` does the
same. ``--watch`` follows an operation until it is over; exit code 1 when it failed.
"""

import argparse
import asyncio
import getpass
from collections.abc import Callable

import msgspec
from nats.aio.msg import Msg

from components.bus.connection import Bus
from components.bus.errors import NoOwner
from components.bus.settings import BusSettings
from components.cli import ops_text
from components.cli.asking import answered, ask, bus_settings, guild_id, operator, print_json
from components.cli.errors import CommandError
from components.cli.stack_options import add_home
from components.process.clock import steady_s
from contracts import subjects
from contracts.catalog import CONFIG_ENDPOINTS
from contracts.ids import PodId
from contracts.message import decode, encode
from contracts.operations import (
    DrainPod,
    GuildQuery,
    GuildsQuery,
    HistoryQuery,
    MoveGuilds,
    OperationProgress,
    OperationStarted,
    PauseBalance,
    PinGuild,
    Rebalance,
    Reshard,
    UnpinGuild,
)

WATCHED = ("rebalance", "drain", "move", "pin", "reshard")
"""Verbs whose work goes on after the answer."""
SILENCE_S = 30.0
"""The leader tells once a second; a new leader needs a few seconds."""

Options = argparse.Namespace
REQUESTS: dict[str, Callable[[Options], msgspec.Struct | None]] = {
    "status": lambda _: None,
    "pods": lambda _: None,
    "guild": lambda o: GuildQuery(guild=o.guild),
    "guilds": lambda o: GuildsQuery(pod=o.pod, waiting=o.waiting, after=o.after, limit=o.limit),
    "plan": lambda _: None,
    "rebalance": lambda o: Rebalance(by=o.by),
    "drain": lambda o: DrainPod(pod=o.pod, by=o.by),
    "undrain": lambda o: DrainPod(pod=o.pod, by=o.by),
    "move": lambda o: MoveGuilds(guilds=o.guilds, pod=o.pod, by=o.by),
    "pin": lambda o: PinGuild(guild=o.guild, pod=o.pod, by=o.by),
    "unpin": lambda o: UnpinGuild(guild=o.guild, by=o.by),
    "reshard": lambda o: Reshard(count=o.count or 0, abort=o.abort, by=o.by),
    "pause": lambda o: PauseBalance(reason=o.reason, by=o.by),
    "resume": lambda o: PauseBalance(by=o.by),
    "history": lambda o: HistoryQuery(guild=o.guild, pod=o.pod, limit=o.limit),
}


def main(arguments: list[str]) -> int:
    """Ask, print the answer, follow the operation; returns the exit code."""
    options = _parser().parse_args(arguments)
    request = REQUESTS[options.verb](options)
    return answered(_run(bus_settings(options), options, request))


async def _run(settings: BusSettings, options: Options, request: msgspec.Struct | None) -> int:
    verb: str = options.verb
    reply_type = next(reply for name, _, _, reply in CONFIG_ENDPOINTS if name == verb)
    data = encode(request) if request is not None else b"{}"
    async with operator(settings) as bus:
        watch = _Watch() if getattr(options, "watch", False) else None
        if watch is not None:
            await watch.begin(bus)  # before asking: what ends at once is heard too
        try:
            reply = await ask(bus, subjects.config_endpoint(verb), data, reply_type)
        except NoOwner as error:
            raise CommandError(
                "no config process answers: look at its log, or start it (modbot run config)"
            ) from error
        if options.json:
            print_json(reply)
        else:
            print(ops_text.text_of(reply))
        if watch is None or not isinstance(reply, OperationStarted):
            return ops_text.exit_code(reply)
        return await watch.follow(reply.operation, as_json=options.json)


class _Watch:
    """Follows the progress of an operation."""

    def __init__(self) -> None:
        self._heard: asyncio.Queue[OperationProgress] = asyncio.Queue()

    async def begin(self, bus: Bus) -> None:
        """Hear of all operations from now on."""

        async def hear(message: Msg) -> None:
            self._heard.put_nowait(decode(message.data, OperationProgress))

        await bus.listen(subjects.progress("*"), hear)
        await bus.barrier()

    async def follow(self, operation: str, *, as_json: bool) -> int:
        """Print how far the operation has come, until it is over."""
        last, until_s = None, steady_s() + SILENCE_S
        while True:
            try:
                async with asyncio.timeout(until_s - steady_s()):
                    progress = await self._heard.get()
            except TimeoutError as error:
                raise CommandError(
                    f"nothing was heard of the operation for {SILENCE_S:g} s: `modbot ops status` "
                    "says who leads; it goes on when somebody does"
                ) from error
            if progress.operation != operation:
                continue
            until_s = steady_s() + SILENCE_S
            if progress == last:
                continue
            last = progress
            if as_json:
                print_json(progress)
            else:
                print(ops_text.progress_line(progress), flush=True)
            if progress.state != "running":
                return 0 if progress.state == "done" else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modbot ops",
        description="Look after the cluster: who owns what and why; drain, move, pin, rebalance. "
        "Needs the seed of the bus user `operator`.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    added = {name: _verb(verbs, name, purpose) for name, purpose, _, _ in CONFIG_ENDPOINTS}
    for name in ("guild", "unpin"):
        added[name].add_argument("guild", type=guild_id, metavar="GUILD")
    for name in ("drain", "undrain", "move"):
        added[name].add_argument("pod", type=PodId, metavar="POD")
    added["move"].add_argument("guilds", type=guild_id, nargs="+", metavar="GUILD")
    added["pin"].add_argument("guild", type=guild_id, metavar="GUILD")
    added["pin"].add_argument("pod", type=PodId, metavar="POD")
    number = added["reshard"].add_mutually_exclusive_group(required=True)
    number.add_argument("count", type=int, nargs="?", metavar="N", help="shards from now on")
    number.add_argument(
        "--abort", action="store_true", help="take the change back that is under way"
    )
    added["pause"].add_argument("--reason", default="", help="for whoever sees it in the status")
    guilds, history = added["guilds"], added["history"]
    guilds.add_argument("--pod", type=PodId, help="only those that this pod owns or follows")
    guilds.add_argument(
        "--waiting", action="store_true", help="only those that nobody serves, or parked"
    )
    guilds.add_argument("--after", type=guild_id, help="the next page: the last id of this one")
    guilds.add_argument("--limit", type=int, default=100)
    history.add_argument("--guild", type=guild_id)
    history.add_argument("--pod", type=PodId, help="from or to this pod")
    history.add_argument("--limit", type=int, default=50)
    return parser


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, purpose: str
) -> argparse.ArgumentParser:
    words = purpose.replace(" The request is empty.", "")
    verb = verbs.add_parser(name, help=words, description=words)
    add_home(verb)
    verb.add_argument("--json", action="store_true", help="everything, for a program to read")
    verb.add_argument("--by", default=getpass.getuser(), help="who asks, for the history")
    if name in WATCHED:
        verb.add_argument("--watch", action="store_true", help="follow it until it is over")
    return verb
