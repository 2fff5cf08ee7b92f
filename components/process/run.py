"""Runs a component until SIGTERM or SIGINT, and turns how it ends into an exit code.

Fails loudly: an unexpected error is logged with its traceback and ends the process with
`exits.CRASHED`; the supervisor starts it again. `CannotStart` and `InvalidSettings` end it with
`exits.CONFIG` and one line that says what to do.
"""

import asyncio
import gc
import io
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import uvloop

from components.process import exits
from components.process.settings import InvalidSettings
from components.process.stopping import Stopped

log = logging.getLogger(__name__)

SLOW_STOP_S = 5.0
GC_THRESHOLDS = (5_000, 5, 50)
"""Python's own (700, 10, 10) may visit everything after 70,000 new objects: a stall of the loop
that grows with the state. What is in no cycle, nearly everything here, is freed without it."""

Main: TypeAlias = Callable[[asyncio.Event], Awaitable[None]]
"""A component: runs until the event is set, then stops in order and returns."""


def run(main: Main) -> int:
    """Run the component on a fresh event loop; returns the exit code."""
    gc.freeze()  # what is loaded stays until the end: no collection needs to visit it
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signal(main))
    except BaseExceptionGroup as group:
        return _code(group)
    except Exception as error:  # the last line of defence: whatever it is, log it and say so
        return _code(error)
    return exits.OK


async def _until_signal(main: Main) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop_now(number: signal.Signals) -> None:
        if not stop.is_set():
            log.info("%s: stopping", number.name)
            loop.call_later(SLOW_STOP_S, _tell_what_runs)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_now, number)
    try:
        await main(stop)
    except Stopped as stopped:
        log.info("%s", stopped)


def _tell_what_runs() -> None:
    """A stop that takes long may be a defect; say where everything stands before a supervisor
    kills the process. One task of all that stand at one line: a pod that drains has thousands, and
    has to renew its lease while it does."""
    places: dict[tuple[str, int], list[asyncio.Task[Any]]] = {}
    for task in asyncio.all_tasks():
        for frame in task.get_stack(limit=1):
            places.setdefault((frame.f_code.co_filename, frame.f_lineno), []).append(task)
    for tasks in places.values():
        where = io.StringIO()
        tasks[0].print_stack(file=where)
        log.warning(
            "%d still running there %.0f s after the signal: %s",
            len(tasks),
            SLOW_STOP_S,
            where.getvalue(),
        )


def _code(error: BaseException) -> int:
    if isinstance(error, exits.ChildEnded):
        return error.code if error.code > 0 else exits.CRASHED
    words = final_words(error)
    if words is not None:
        log.error("%s", words)
        return exits.CONFIG
    log.error("stopped by an unexpected error", exc_info=error)
    return exits.CRASHED


def final_words(error: BaseException) -> str | None:
    """The words of the `CannotStart` or `InvalidSettings` in the error, if that is what it is."""
    if isinstance(error, exits.CannotStart | InvalidSettings):
        return str(error)
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            if (words := final_words(inner)) is not None:
                return words
    return None
