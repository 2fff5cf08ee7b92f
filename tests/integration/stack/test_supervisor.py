"""The supervisor with real child processes: order, restarts, exit code 78, nothing left behind."""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from components.process import exits
from components.stack.errors import Refused, StartFailed
from components.stack.plan import BusProbe, DoneProbe, Process
from components.stack.supervisor import ATTEMPTS, Supervised, Supervisor, levels

FOREVER = "import signal; signal.pause()"
PROBE = BusProbe(component="test", replica="test")


def process(name: str, code: str = FOREVER, **more: object) -> Process:
    fields: dict[str, object] = {"probe": PROBE, "label": "test", **more}
    return Process(name=name, command=[sys.executable, "-c", textwrap.dedent(code)], **fields)  # type: ignore[arg-type]


async def ready_at_once(_: Supervised) -> bool:
    return True


async def never_ready(_: Supervised) -> bool:
    return False


class Watched:
    """A supervisor, and every state that its processes went through."""

    def __init__(self, folder: Path, plan: list[Process], ready: object = ready_at_once) -> None:
        self.seen: list[tuple[str, str]] = []
        self.supervisor = Supervisor(
            plan,
            logs=folder,
            is_ready=ready,  # type: ignore[arg-type]
            changed=self._note,
        )
        self._event = asyncio.Event()

    def _note(self, child: Supervised) -> None:
        self.seen.append((child.name, child.state))
        self._event.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not condition():
                self._event.clear()
                await self._event.wait()

    def pid(self, name: str) -> int:
        pid = self.supervisor.children[name].pid
        assert pid is not None
        return pid


@asynccontextmanager
async def watched(
    folder: Path, *plan: Process, ready: object = ready_at_once
) -> AsyncIterator[Watched]:
    running = Watched(folder, list(plan), ready)
    running.supervisor.start()
    try:
        yield running
    finally:
        await running.supervisor.stop()


async def test_a_process_starts_only_when_what_it_needs_is_ready(tmp_path: Path) -> None:
    may_be_ready = asyncio.Event()

    async def ready(child: Supervised) -> bool:
        return child.name != "first" or may_be_ready.is_set()

    async with watched(
        tmp_path, process("first"), process("second", needs=["first"]), ready=ready
    ) as running:
        await running.until(lambda: ("first", "starting") in running.seen)
        assert running.supervisor.children["second"].pid is None
        may_be_ready.set()
        await running.supervisor.until_ready(10)
    assert running.seen.index(("first", "ready")) < running.seen.index(("second", "starting"))


async def test_what_depends_on_others_stops_first(tmp_path: Path) -> None:
    plan = (process("base"), process("middle", needs=["base"]), process("top", needs=["middle"]))
    async with watched(tmp_path, *plan) as running:
        await running.supervisor.until_ready(10)
    stopped = [name for name, state in running.seen if state == "stopped"]
    assert stopped == ["top", "middle", "base"]


async def test_a_crashed_process_is_started_again(tmp_path: Path) -> None:
    async with watched(tmp_path, process("shard")) as running:
        await running.supervisor.until_ready(10)
        first = running.pid("shard")
        os.kill(first, signal.SIGKILL)
        await running.until(lambda: running.seen.count(("shard", "ready")) == 2)
        assert running.pid("shard") != first
        assert running.supervisor.children["shard"].restarts == 1
        assert "SIGKILL" in running.supervisor.children["shard"].words


async def test_pauses_between_restarts_grow(tmp_path: Path) -> None:
    """Each start writes its time; three pauses of 0.1, 0.2 and 0.4 s lie between four starts."""
    code = "import time; print(time.monotonic(), flush=True); raise SystemExit(1)"
    async with watched(tmp_path, process("flapping", code)) as running:
        child = running.supervisor.children["flapping"]
        await running.until(lambda: child.restarts >= 4)
    starts = [float(line) for line in (tmp_path / "flapping.log").read_text().split()]
    pauses = [after - before for before, after in itertools.pairwise(starts)]
    assert pauses[0] >= 0.1
    assert pauses[1] >= 0.2
    assert pauses[2] >= 0.4


async def test_exit_code_78_is_never_started_again_and_its_words_are_told(tmp_path: Path) -> None:
    code = f"""
        print('{{"level": "error", "message": "the token is refused"}}', flush=True)
        raise SystemExit({exits.CONFIG})
    """
    plan = (process("shard", code), process("edge"))
    async with watched(tmp_path, *plan, ready=never_ready) as running:
        with pytest.raises(Refused, match="shard: the token is refused"):
            await running.supervisor.until_ready(10)
        assert running.seen.count(("shard", "starting")) == 1


async def test_an_inessential_refusal_later_leaves_the_rest_running(tmp_path: Path) -> None:
    code = f"import signal; signal.signal(10, lambda *_: exit({exits.CONFIG})); signal.pause()"
    plan = (process("gateway-0", code, essential=False), process("gateway-1"))
    async with watched(tmp_path, *plan) as running:
        await running.supervisor.until_ready(10)
        # Ready is at once here; the handler may not be in place yet, so signal until it has ended.
        while ("gateway-0", "refused") not in running.seen:
            pid = running.supervisor.children["gateway-0"].pid
            if pid is not None and _handles(pid, signal.SIGUSR1):
                os.kill(pid, signal.SIGUSR1)
            await asyncio.sleep(0.02)
        assert not running.supervisor.failure.done()
        assert running.supervisor.children["gateway-1"].state == "ready"


async def test_an_essential_refusal_later_ends_the_stack(tmp_path: Path) -> None:
    code = f"import time; time.sleep(0.5); raise SystemExit({exits.CONFIG})"
    async with watched(tmp_path, process("shard", code)) as running:
        await running.supervisor.until_ready(10)
        assert isinstance(await running.supervisor.failure, Refused)


async def test_a_step_that_ends_well_is_done_and_not_repeated(tmp_path: Path) -> None:
    plan = (
        process("streams", "print('made')", probe=DoneProbe()),
        process("config", needs=["streams"]),
    )
    async with watched(tmp_path, *plan) as running:
        await running.supervisor.until_ready(10)
        assert running.supervisor.children["streams"].state == "done"
        assert running.seen.count(("streams", "starting")) == 1
    assert ("streams", "stopped") not in running.seen


async def test_a_step_that_fails_stops_the_start_with_its_words(tmp_path: Path) -> None:
    code = "raise SystemExit('the disk is too small')"
    async with watched(tmp_path, process("streams", code, probe=DoneProbe())) as running:
        with pytest.raises(Refused, match="the disk is too small"):
            await running.supervisor.until_ready(10)


async def test_a_process_that_never_gets_ready_is_given_up_soon(tmp_path: Path) -> None:
    broken = process("edge", "raise SystemExit('no such module')")
    async with watched(tmp_path, broken, ready=never_ready) as running:
        with pytest.raises(StartFailed, match=f"edge ended {ATTEMPTS} times.*no such module"):
            await running.supervisor.until_ready(30)


async def test_a_process_that_stays_silent_is_named_with_its_log(tmp_path: Path) -> None:
    async with watched(tmp_path, process("edge"), ready=never_ready) as running:
        with pytest.raises(StartFailed, match=r"edge \(starting; log: .*edge\.log\)"):
            await running.supervisor.until_ready(0.5)


async def test_a_program_that_is_missing_stops_the_start_with_words(tmp_path: Path) -> None:
    missing = Process(name="nats", label="test", command=["/nowhere/nats"], probe=PROBE)
    async with watched(tmp_path, missing) as running:
        with pytest.raises(StartFailed, match=r"nats cannot be started.*/nowhere/nats"):
            await running.supervisor.until_ready(10)


async def test_a_process_that_ignores_its_signal_is_killed_after_its_grace(tmp_path: Path) -> None:
    code = "import signal; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True)\n"
    async with watched(tmp_path, process("deaf", code + FOREVER, grace_s=0.3)) as running:
        await running.supervisor.until_ready(10)
        while not (tmp_path / "deaf.log").read_text():
            await asyncio.sleep(0.02)
        pid = running.pid("deaf")
    assert not psutil.pid_exists(pid)
    assert running.supervisor.children["deaf"].killed


async def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    code = f"""
        import subprocess, sys
        helper = subprocess.Popen([sys.executable, "-c", {FOREVER!r}])
        print(helper.pid, flush=True)
        {FOREVER}
    """
    async with watched(tmp_path, process("gateway", code)) as running:
        await running.supervisor.until_ready(10)
        while not (tmp_path / "gateway.log").read_text():
            await asyncio.sleep(0.02)
        helper = int((tmp_path / "gateway.log").read_text())
        os.kill(running.pid("gateway"), signal.SIGKILL)
        await running.until(lambda: ("gateway", "restarting") in running.seen)
        await _gone(helper)


async def test_kill_ends_everything_at_once(tmp_path: Path) -> None:
    code = "import signal; signal.signal(15, signal.SIG_IGN); " + FOREVER.partition("; ")[2]
    async with watched(tmp_path, process("a", code), process("b", code, needs=["a"])) as running:
        await running.supervisor.until_ready(10)
        pids = [running.pid("a"), running.pid("b")]
        stopping = asyncio.create_task(running.supervisor.stop())
        await running.until(lambda: ("b", "stopping") in running.seen)
        running.supervisor.kill()
        async with asyncio.timeout(5):
            await stopping
        assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux", reason="death signals are Linux's")
async def test_no_child_survives_a_killed_supervisor(tmp_path: Path) -> None:
    code = f"""
        import asyncio
        from pathlib import Path
        from components.stack.plan import DoneProbe, Process
        from components.stack.supervisor import Supervisor

        async def main():
            plan = [Process(name=n, label="t", command=[{sys.executable!r}, "-c", {FOREVER!r}],
                            probe=DoneProbe()) for n in ("a", "b")]
            async def ready(_): return False
            supervisor = Supervisor(plan, logs=Path({str(tmp_path)!r}), is_ready=ready)
            supervisor.start()
            while not all(c.pid for c in supervisor.children.values()):
                await asyncio.sleep(0.01)
            print(*(c.pid for c in supervisor.children.values()), flush=True)
            await asyncio.Event().wait()

        asyncio.run(main())
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in (await asyncio.to_thread(parent.stdout.readline)).split()]
    assert len(pids) == 2
    parent.kill()
    parent.wait()
    for pid in pids:
        await _gone(pid)


def test_levels_follow_the_longest_chain_of_needs() -> None:
    plan = [
        process("nats"),
        process("streams", needs=["nats"]),
        process("postgres"),
        process("config", needs=["streams", "postgres"]),
    ]
    assert levels(plan) == [["nats", "postgres"], ["streams"], ["config"]]


async def _gone(pid: int) -> None:
    async with asyncio.timeout(5):
        with contextlib.suppress(psutil.NoSuchProcess):
            while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                await asyncio.sleep(0.01)


def _handles(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal (SigCgt in /proc); not when it has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) & (1 << (number - 1)))
    return False
