"""Starts processes in order, starts crashed ones again, stops all of them in reverse order.

Promise: a process starts when what it needs has been ready once; one that ends is started again
after a pause (`Process.pause_s`) that doubles up to 5 s and is short again after 10 s of running;
exit code 78 means never again, until `restart` is asked for. After `stop` or `kill` no process is
left. A failure is told by `failure`.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from components.process import exits, log_files
from components.process.clock import steady_s, wall_ms
from components.stack import child as children
from components.stack.errors import Refused, StackError, StartFailed
from components.stack.plan import DoneProbe, Process

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 5.0
STEADY_AFTER_S = 10.0
PROBE_EVERY_S = 0.1
ATTEMPTS = 5
"""A process that ends this often before it was ever ready will not become ready."""

State: TypeAlias = Literal[
    "waiting", "starting", "ready", "restarting", "refused", "stopping", "stopped", "done"
]


class Supervised:
    """A process of the plan through all its restarts."""

    def __init__(self, process: Process, log_path: Path) -> None:
        self.process = process
        self.log_path = log_path
        self.state: State = "waiting"
        self.pid: int | None = None
        self.spawned_ms = 0
        self.ready_after_s = 0.0
        self.restarts = 0
        self.words = ""
        """Why it ended the last time."""
        self.killed = False
        """It did not stop when it was asked to."""
        self.was_ready = asyncio.Event()
        self.is_ready = asyncio.Event()
        """Set while the process that runs now is ready."""
        self.has_ended = asyncio.Event()
        """Set while no process runs."""
        self.has_ended.set()
        self.on_request = False
        """Its next end was asked for: it is started again at once."""
        self.stopping = asyncio.Event()

    @property
    def name(self) -> str:
        return self.process.name


ReadyCheck: TypeAlias = Callable[[Supervised], Awaitable[bool]]
Listener: TypeAlias = Callable[[Supervised], None]


class Supervisor:
    """Runs a plan. ``is_ready`` is asked until it says yes; ``changed`` hears of every change."""

    def __init__(
        self,
        plan: Sequence[Process],
        *,
        logs: Path,
        is_ready: ReadyCheck,
        changed: Listener = lambda _: None,
    ) -> None:
        self.children = {
            process.name: Supervised(process, logs / f"{process.name}.log") for process in plan
        }
        self.failure: asyncio.Future[StackError] = asyncio.get_running_loop().create_future()
        """Set once, when the stack as a whole cannot go on."""
        self._is_ready = is_ready
        self._changed = changed
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._all_ready = False
        self._killed = asyncio.Event()

    def start(self) -> None:
        """Begin; `until_ready` waits for the result."""
        for child in self.children.values():
            self._tasks[child.name] = asyncio.create_task(self._guarded(child), name=child.name)

    async def until_ready(self, within_s: float) -> None:
        """Wait until every process has been ready. Raises `StartFailed` or `Refused`."""
        ready = asyncio.create_task(self._each_was_ready())
        wanted: set[asyncio.Future[Any]] = {ready, self.failure}
        try:
            await asyncio.wait(wanted, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self.failure.done():
            raise self.failure.result()
        if ready.done():
            self._all_ready = True
            return
        late = [child for child in self.children.values() if not child.was_ready.is_set()]
        raise StartFailed(f"not ready within {within_s:g} s: " + "; ".join(map(_described, late)))

    async def stop(self) -> None:
        """Stop everything, what depends on others first; returns when nothing is left."""
        for child in self.children.values():
            child.stopping.set()  # whatever ends from now on stays down
        for level in reversed(levels([child.process for child in self.children.values()])):
            await asyncio.gather(*(self._stop(self.children[name]) for name in level))

    async def restart(self, name: str, within_s: float) -> None:
        """Stop the process as `stop` does, start it at once, return when it is ready again.

        Raises `StartFailed` when it is not ready in time, or refuses to run; it is tried on then
        like any process that crashed.
        """
        child = self.children[name]
        task = self._tasks[name]
        if task.done():
            task = self._tasks[name] = asyncio.create_task(self._guarded(child), name=name)
        elif child.pid is not None:
            child.on_request = True
            await self._end(child)
        ready = asyncio.create_task(child.is_ready.wait())
        try:
            await asyncio.wait({ready, task}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if not child.is_ready.is_set():
            raise StartFailed(f"not ready again within {within_s:g} s: {_described(child)}")

    async def trim_logs(self) -> None:
        """Keep every log bounded, for ever."""
        while True:
            await asyncio.sleep(log_files.TRIM_EVERY_S)
            for child in self.children.values():
                await asyncio.to_thread(log_files.trim, child.log_path)

    def kill(self) -> None:
        """End everything at once; a `stop` under way then returns soon."""
        self._killed.set()
        for child in self.children.values():
            child.stopping.set()
            if child.pid is not None:
                child.killed = True
                children.end_group(child.pid)

    async def _each_was_ready(self) -> None:
        for child in self.children.values():
            await child.was_ready.wait()

    async def _stop(self, child: Supervised) -> None:
        task = self._tasks.get(child.name)
        if task is None:
            return
        if child.pid is None:
            task.cancel()
        else:
            await self._end(child)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if child.state not in ("done", "refused"):
            self._set(child, "stopped")

    async def _end(self, child: Supervised) -> None:
        """Ask the process to stop; kill it when it does not."""
        pid = child.pid
        assert pid is not None
        self._set(child, "stopping")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, child.process.stop_signal)
        ended = asyncio.create_task(child.has_ended.wait())
        killed = asyncio.create_task(self._killed.wait())
        await asyncio.wait(
            {ended, killed}, timeout=child.process.grace_s, return_when=asyncio.FIRST_COMPLETED
        )
        ended.cancel()
        killed.cancel()
        if child.pid == pid:  # not one that was started since
            child.killed = True
            children.end_group(pid)
            await child.has_ended.wait()

    async def _guarded(self, child: Supervised) -> None:
        try:
            await self._keep(child)
        except Exception as error:
            # Whatever goes wrong with one child, e.g. a full disk, must be told and end the stack.
            log.debug("supervision of %s ended", child.name, exc_info=error)
            child.words = str(error)
            self._set(child, "refused")
            self._fail(StartFailed(f"{child.name} cannot be started: {error}"))

    async def _keep(self, child: Supervised) -> None:
        for need in child.process.needs:
            await self.children[need].was_ready.wait()
        pause_s = child.process.pause_s
        while not child.stopping.is_set():
            started_s = steady_s()
            code = await self._run_once(child)
            if child.stopping.is_set():
                return
            if isinstance(child.process.probe, DoneProbe) and code == exits.OK:
                self._done(child, started_s)
                return
            if child.on_request:
                child.on_request = False
                pause_s = child.process.pause_s
                continue
            log.debug("%s ended with %s: %s", child.name, code, child.words)
            if code == exits.CONFIG or isinstance(child.process.probe, DoneProbe):
                self._refused(child)
                return
            if steady_s() - started_s > STEADY_AFTER_S:
                pause_s = child.process.pause_s
            child.restarts += 1
            if child.restarts == ATTEMPTS and not child.was_ready.is_set():
                self._fail(StartFailed(f"{child.name} ended {ATTEMPTS} times: {_described(child)}"))
            self._set(child, "restarting")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child.stopping.wait(), pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    async def _run_once(self, child: Supervised) -> int:
        offset = log_files.size_of(child.log_path)
        child.spawned_ms = wall_ms()
        started_s = steady_s()
        process = await children.spawn(child.process, child.log_path)
        child.pid, child.killed = process.pid, False
        child.has_ended.clear()
        self._set(child, "starting")
        probing = asyncio.create_task(self._await_ready(child, started_s))
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            children.end_group(process.pid)
            await process.wait()
            raise
        finally:
            probing.cancel()
            children.end_group(process.pid)  # what it left behind
            child.pid = None
            child.is_ready.clear()
            child.has_ended.set()
        child.words = children.last_words(child.log_path, offset) + _how(code)
        return code

    async def _await_ready(self, child: Supervised, started_s: float) -> None:
        if isinstance(child.process.probe, DoneProbe):
            return
        while not await self._is_ready(child):  # noqa: ASYNC110 - the state is another process's
            await asyncio.sleep(PROBE_EVERY_S)
        child.ready_after_s = steady_s() - started_s
        child.was_ready.set()
        if not child.stopping.is_set() and not child.on_request:
            child.is_ready.set()
            self._set(child, "ready")

    def _done(self, child: Supervised, started_s: float) -> None:
        child.ready_after_s = steady_s() - started_s
        child.was_ready.set()
        self._set(child, "done")

    def _refused(self, child: Supervised) -> None:
        self._set(child, "refused")
        if child.process.essential or not self._all_ready:
            self._fail(Refused(f"{child.name}: {child.words} (log: {child.log_path})"))

    def _fail(self, error: StackError) -> None:
        if not self.failure.done():
            self.failure.set_result(error)

    def _set(self, child: Supervised, state: State) -> None:
        child.state = state
        self._changed(child)


def levels(plan: Sequence[Process]) -> list[list[str]]:
    """Names by depth: those of a level need only those of earlier levels."""
    depth: dict[str, int] = {}
    for process in plan:  # each comes after what it needs
        depth[process.name] = 1 + max((depth[need] for need in process.needs), default=-1)
    found: list[list[str]] = [[] for _ in range(1 + max(depth.values(), default=-1))]
    for name, level in depth.items():
        found[level].append(name)
    return found


def _described(child: Supervised) -> str:
    words = f", {child.words}" if child.words else ""
    return f"{child.name} ({child.state}{words}; log: {child.log_path})"


def _how(code: int) -> str:
    if code >= 0:
        return "" if code in (exits.OK, exits.CONFIG) else f" [exit code {code}]"
    with contextlib.suppress(ValueError):
        return f" [{signal.Signals(-code).name}]"
    return f" [signal {-code}]"
