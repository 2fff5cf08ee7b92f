"""Puts the local stack together: `up` is what ``modbot up`` does.

Returns an exit code; raises `StackError`, `CannotPrepare`, `MissingBinary` and `OSError` with
words, after everything that was started has been stopped.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TypeAlias

import msgspec

from components.bus.settings import BusSettings
from components.process.log_files import LOG_BYTES_MAX
from components.stack import control, overview, plan, running
from components.stack.control import Restart, Told
from components.stack.installation import Discord, Installation, prepare
from components.stack.ports import Claims
from components.stack.readiness import NOT_YET, Readiness
from components.stack.rolling import chosen, roll
from components.stack.running import RunningStack
from components.stack.screen import Screen
from components.stack.settings import StackSettings
from components.stack.supervisor import Supervised, Supervisor
from components.telemetry.logs import JsonLines
from components.telemetry.metrics import PATH as METRICS_PATH

log = logging.getLogger(__name__)

Work: TypeAlias = Callable[[RunningStack], Awaitable[None]]
"""What is done once the stack is ready, while it runs."""


async def up(
    settings: StackSettings,
    *,
    screen: Screen,
    account: Discord | None = None,
    reset: bool = False,
    as_json: bool = False,
    work: Work | None = None,
) -> None:
    """Start everything, show it until a signal or a failure, stop everything."""
    home = folder_of(settings)
    with running.locked(home), _logged(home / "logs" / "up.log"):
        for name in running.end_leftovers(home):
            screen.line(f"ended {name}, which an earlier stack had left behind", "yellow")
        if reset:
            for name in running.reset(home):
                screen.line(f"removed {home / name}", "yellow")
        running.remove(home)
        claims = Claims()
        try:
            installation = await asyncio.to_thread(prepare, settings, account, claims=claims)
            await _Stack(settings, installation, screen).run(as_json=as_json, work=work)
        finally:
            running.remove(home)
            claims.release()


class _Stack:
    def __init__(self, settings: StackSettings, installation: Installation, screen: Screen) -> None:
        self._settings = settings
        self._installation = installation
        self._screen = screen
        self._logs = installation.home / "logs"
        seed = (installation.files.seeds / "operator.nk").read_text(encoding="ascii").strip()
        self._readiness = Readiness(BusSettings(url=installation.nats_url, seed=seed))
        self._supervisor = Supervisor(
            plan.processes(settings, installation),
            logs=self._logs,
            is_ready=self._is_ready,
            changed=self._changed,
        )
        self._ready = False
        self._stop = asyncio.Event()

    async def run(self, *, as_json: bool, work: Work | None) -> None:
        with self._signals():
            self._screen.line(f"starting modbot, data and logs in {self._installation.home}")
            self._supervisor.start()
            try:
                await self._until_ready()
                if self._stop.is_set():
                    return
                self._ready = True
                self._record()
                self._announce(as_json=as_json)
                await self._live(work)
            finally:
                self._screen.end_table()
                self._screen.line("stopping (Ctrl-C again ends everything at once)")
                await self._readiness.close()
                await self._supervisor.stop()
                self._screen.line("everything has stopped")

    async def _until_ready(self) -> None:
        await self._unless_stopped(self._supervisor.until_ready(self._settings.ready_s))

    async def _live(self, work: Work | None) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._show())]
            tasks.append(group.create_task(self._supervisor.trim_logs()))
            tasks.append(group.create_task(self._answer()))
            if work is not None:
                tasks.append(group.create_task(self._work(work)))
            try:
                await self._unless_stopped(asyncio.shield(self._supervisor.failure))
            finally:
                for task in tasks:
                    task.cancel()
        if self._supervisor.failure.done():
            raise self._supervisor.failure.result()

    async def _answer(self) -> None:
        """Answer other commands until cancelled."""
        async with control.serving(control.socket_of(self._installation.home), self._restart):
            await asyncio.Event().wait()

    async def _restart(self, request: Restart, told: Told) -> None:
        plan = [child.process for child in self._supervisor.children.values()]
        guilds = any(process.name.startswith("config-") for process in plan)
        await roll(
            self._supervisor,
            chosen(plan, request.names),
            unsettled=lambda: self._readiness.unsettled(guilds=guilds),
            told=told,
            within_s=request.within_s,
        )

    async def _work(self, work: Work) -> None:
        await work(self._running())

    async def _unless_stopped(self, wanted: Awaitable[object]) -> None:
        """Wait for the one or the signal to stop, whichever is first."""
        working = asyncio.ensure_future(wanted)
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
        finally:
            for waiting in (working, stopping):
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await waiting

    async def _show(self) -> None:
        while True:
            cluster = None
            with contextlib.suppress(*NOT_YET):
                cluster = await self._readiness.cluster()
            self._screen.show(await overview.rows(self._supervisor.children.values(), cluster))
            await asyncio.sleep(self._screen.every_s)

    async def _is_ready(self, child: Supervised) -> bool:
        return await self._readiness.is_ready(child.process, child.spawned_ms)

    def _changed(self, child: Supervised) -> None:
        if child.state == "starting":
            self._record()
        self._screen.changed(child)

    def _record(self) -> None:
        running.write(self._installation.home, self._running())

    def _running(self) -> RunningStack:
        found = [
            running.process_of(child.name, child.pid)
            for child in self._supervisor.children.values()
            if child.pid is not None
        ]
        files = self._installation.files
        return RunningStack(
            pid=os.getpid(),
            home=str(self._installation.home),
            ready=self._ready,
            urls=urls(self._installation),
            ports=self._installation.ports,
            credentials={name: str(getattr(files, name)) for name in files.__struct_fields__},
            logs=str(self._logs),
            simulated=self._installation.discord.simulated,
            control=str(control.socket_of(self._installation.home)),
            processes=[process for process in found if process is not None],
        )

    def _announce(self, *, as_json: bool) -> None:
        if as_json:
            sys.stdout.write(msgspec.json.encode(self._running()).decode() + "\n")
            sys.stdout.flush()
        self._screen.line("modbot is ready", "bold green")
        for child in self._supervisor.children.values():
            for link in child.process.links:
                self._screen.line(f"  {link.name + ' (' + child.name + ')':<30} {link.url}")
        token = self._installation.files.operator_token
        self._screen.line(f"  {'operator token of the API':<30} {token}")
        look = f"XDG_CONFIG_HOME={self._installation.home / 'config'} nats stream ls"
        self._screen.line(f"  {'look at the bus (make tools)':<30} {look}")
        self._screen.line(f"  {'logs':<30} {self._logs}")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # not under nohup
            numbers.append(signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self._signalled)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _signalled(self) -> None:
        if self._stop.is_set():
            self._supervisor.kill()
        self._stop.set()


def folder_of(settings: StackSettings) -> Path:
    """The data folder, absolute."""
    return Path(settings.home).resolve()


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """What this process logs goes to a file: the terminal shows the table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(
        path, maxBytes=LOG_BYTES_MAX, backupCount=1, encoding="utf-8", delay=True
    )
    handler.setFormatter(JsonLines("stack", "up"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def urls(installation: Installation) -> dict[str, str]:
    """Addresses of what a person or a command may want to reach."""
    found = {"nats": installation.nats_url, "s3": installation.s3_endpoint}
    for name, port in installation.ports.items():
        if name.startswith(("edge", "simulator")):
            found[name] = f"http://127.0.0.1:{port}"
        elif name.startswith("metrics."):
            found[name] = f"http://127.0.0.1:{port}{METRICS_PATH}"
    return found
