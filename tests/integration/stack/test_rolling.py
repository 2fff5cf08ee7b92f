"""Restarting processes of a running stack, one by one, asked for from outside."""

import asyncio
import sys
from pathlib import Path

import pytest

from components.stack.control import NotAnswered, Ready, Restart, ask_restart, serving, socket_of
from components.stack.errors import Refused, StackError, StartFailed
from components.stack.plan import BusProbe, DoneProbe, Process
from components.stack.rolling import Restarted, chosen, roll
from components.stack.supervisor import Supervised, Supervisor

FOREVER = "import signal; signal.pause()"
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
while True:
    signal.pause()
"""


def process(name: str, code: str = FOREVER, **more: object) -> Process:
    fields = {"label": "test", "probe": BusProbe(component="test", replica=name), **more}
    return Process(name=name, command=[sys.executable, "-c", code], **fields)  # type: ignore[arg-type]


PLAN = [process("nats-0"), process("nats-1"), process("gateway-0")]


class Stack:
    """A supervisor whose processes are ready as soon as they run, unless told otherwise."""

    def __init__(self, folder: Path, plan: list[Process]) -> None:
        self.seen: list[tuple[str, str]] = []
        self.late: set[str] = set()
        self.supervisor = Supervisor(plan, logs=folder, is_ready=self._ready, changed=self._changed)

    async def __aenter__(self) -> "Stack":
        self.supervisor.start()
        await self.supervisor.until_ready(10)
        self.seen.clear()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.supervisor.stop()

    async def _ready(self, child: Supervised) -> bool:
        if STUBBORN in child.process.command and "deaf" not in child.log_path.read_text():
            return False
        return child.name not in self.late

    def _changed(self, child: Supervised) -> None:
        self.seen.append((child.name, child.state))

    def pids(self) -> dict[str, int | None]:
        return {name: child.pid for name, child in self.supervisor.children.items()}

    async def roll(self, names: list[str], *, within_s: float = 10.0) -> list[str]:
        told: list[str] = []

        async def note(restarted: Restarted) -> None:
            told.append(restarted.name)

        await roll(self.supervisor, names, unsettled=settled, told=note, within_s=within_s)
        return told


async def settled() -> str:
    return ""


async def test_each_is_ready_again_before_the_next_is_stopped(tmp_path: Path) -> None:
    async with Stack(tmp_path, PLAN) as stack:
        before = stack.pids()
        assert await stack.roll(["nats-0", "nats-1"]) == ["nats-0", "nats-1"]
        after = stack.pids()
        states = [(name, state) for name, state in stack.seen if name != "gateway-0"]
        assert states == [
            (name, state)
            for name in ("nats-0", "nats-1")
            for state in ("stopping", "starting", "ready")
        ]
        assert before["gateway-0"] == after["gateway-0"]
        assert {before[name] for name in ("nats-0", "nats-1")}.isdisjoint(after.values())
        assert all(child.restarts == 0 for child in stack.supervisor.children.values())
        await asyncio.sleep(0)
        assert stack.pids() == after


async def test_a_process_that_does_not_stop_is_killed_and_started(tmp_path: Path) -> None:
    stubborn = process("gateway-0", STUBBORN, grace_s=0.3)
    async with Stack(tmp_path, [stubborn]) as stack:
        before = stack.pids()
        await stack.roll(["gateway-0"])
        assert stack.pids() != before
        assert not stack.supervisor.children["gateway-0"].killed  # the one that runs now


async def test_nothing_is_stopped_while_another_is_not_ready(tmp_path: Path) -> None:
    async with Stack(tmp_path, PLAN) as stack:
        before = stack.pids()
        stack.supervisor.children["nats-0"].state = "restarting"
        with pytest.raises(StartFailed, match=r"nats-1 is not restarted, .* nats-0: not ready"):
            await stack.roll(["nats-1"], within_s=0.3)
        assert stack.pids() == before


async def test_the_rest_is_left_alone_when_one_does_not_come_back(tmp_path: Path) -> None:
    async with Stack(tmp_path, PLAN) as stack:
        before = stack.pids()
        stack.late.add("nats-0")
        with pytest.raises(StartFailed, match="not ready again within"):
            await stack.roll(["nats-0", "nats-1"], within_s=0.5)
        assert stack.pids()["nats-1"] == before["nats-1"]


async def test_what_is_left_to_settle_is_waited_for(tmp_path: Path) -> None:
    left = ["2 guilds wait for an owner", "copies of INPUTS are not current"]
    restarted = asyncio.Event()

    async def unsettled() -> str:
        assert not (left and restarted.is_set())
        return left.pop() if left else ""

    async def note(_: Restarted) -> None:
        restarted.set()

    async with Stack(tmp_path, PLAN) as stack:
        await roll(stack.supervisor, ["nats-0"], unsettled=unsettled, told=note, within_s=10)
    assert restarted.is_set()
    assert not left


def test_all_is_everything_but_steps_and_the_simulator() -> None:
    plan = [*PLAN, process("simulator"), process("streams", probe=DoneProbe())]
    assert chosen(plan, []) == ["nats-0", "nats-1", "gateway-0"]
    assert chosen(plan, ["gateway-0", "nats-1"]) == ["nats-1", "gateway-0"]
    assert chosen(plan, ["simulator"]) == ["simulator"]
    with pytest.raises(Refused, match="no process is called streams; there are nats-0"):
        chosen(plan, ["streams"])


async def test_who_asks_hears_of_each_process_and_of_the_end(tmp_path: Path) -> None:
    async def answer(request: Restart, told: object) -> None:
        for name in request.names:
            await told(Restarted(name=name, after_s=1.0))  # type: ignore[operator]
        if "broken" in request.names:
            raise StartFailed("broken is not ready")

    path, heard = socket_of(tmp_path), list[Ready]()
    async with serving(path, answer):
        await ask_restart(path, Restart(names=["a", "b"]), heard.append)
        assert [ready.name for ready in heard] == ["a", "b"]
        with pytest.raises(StackError, match="broken is not ready"):
            await ask_restart(path, Restart(names=["broken"]), heard.append)
    with pytest.raises(NotAnswered):
        await ask_restart(path, Restart(names=["a"]), heard.append)


async def test_a_second_wish_is_refused_while_the_first_is_carried_out(tmp_path: Path) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def answer(_: Restart, __: object) -> None:
        asked.set()
        await go_on.wait()

    path, heard = socket_of(tmp_path), list[Ready]()
    async with serving(path, answer):
        first = asyncio.create_task(ask_restart(path, Restart(names=[]), heard.append))
        await asyncio.wait_for(asked.wait(), 5)
        with pytest.raises(StackError, match="another restart is under way"):
            await ask_restart(path, Restart(names=[]), heard.append)
        go_on.set()
        await first


async def test_only_its_owner_may_ask(tmp_path: Path) -> None:
    path = socket_of(tmp_path)
    async with serving(path, lambda *_: asyncio.sleep(0)):
        assert path.parent.stat().st_mode & 0o077 == 0
