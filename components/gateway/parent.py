"""The parent of one gateway process: starts it, passes SIGTERM on, attests its end.

Promise: the child gets a random name (``MODBOT_GATEWAY_PROCESS``), which its lease shows. As soon
as waitpid has seen the child's end, ``ends.<pod>.<name>`` says so, and the new owners of its
guilds need not wait for the end of its lease (docs/decisions/0006, step 7). The parent ends with
the child's exit code; a supervisor starts both again. When the parent is killed, the kernel kills
the child: nobody attests that, and the lease is waited for.

Fails: while NATS is away the attestation is tried for `ATTEST_WITHIN_S`, then left out.
"""

import asyncio
import ctypes
import logging
import os
import secrets
import signal
import sys
from typing import Final

import msgspec

from components.bus.buckets import Bucket
from components.bus.connection import Bus, connect
from components.bus.errors import BusError, NotConnected
from components.bus.settings import BusSettings
from components.process.clock import wall_ms
from components.process.exits import ChildEnded
from components.process.service import start_service
from components.process.settings import load
from contracts import storage
from contracts.ids import PodId
from contracts.message import encode
from contracts.records import ProcessEnd

log = logging.getLogger(__name__)

ATTEST_WITHIN_S: Final = 10.0
AGAIN_S: Final = 0.05
KEPT_S: Final = 3600
"""How long an attestation is kept: a lease's TTL, which proves the same, is far shorter."""
PR_SET_PDEATHSIG: Final = 1
PROCESS_VARIABLE: Final = "MODBOT_GATEWAY_PROCESS"
MEMORY: Final = {"MALLOC_ARENA_MAX": "2"}
"""For glibc's malloc, unless the environment says otherwise. What the event loop allocates the
applier frees; with an arena a thread (eight a processor) it is kept, and not used again."""


class ParentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``MODBOT_PARENT_*``."""

    seed: str = ""
    """The nkey seed of bus user ``parent``. Unset: the gateway runs without a parent."""


def wanted() -> bool:
    """Whether the environment asks for a parent."""
    return bool(load(ParentSettings, "PARENT").seed)


async def main(stop: asyncio.Event) -> None:
    """Run the child until it ends. Raises `ChildEnded` with its exit code unless that is 0."""
    pod = PodId(start_service("gateway-parent"))
    settings = load(ParentSettings, "PARENT")
    bus_settings = msgspec.structs.replace(load(BusSettings, "NATS"), seed=settings.seed)
    process = secrets.token_hex(8)
    child = await _start(process)
    log.info("gateway process %s runs as pid %s", process, child.pid)
    # The child does not wait for our connection, nor do we for its.
    connecting = asyncio.create_task(_connected(bus_settings, pod))
    stopping = asyncio.create_task(_pass_on(stop, child))
    try:
        code = await child.wait()
        log.info("gateway process %s ended with %s", process, code)
        end = ProcessEnd(pod=pod, process=process, exit_code=code, ended_ms=wall_ms())
        await _attest(connecting, end)
    finally:
        stopping.cancel()
        connecting.cancel()
        await asyncio.gather(stopping, connecting, return_exceptions=True)
    if code != 0:
        raise ChildEnded(code)


async def _connected(settings: BusSettings, pod: PodId) -> Bus:
    while True:
        try:
            return await connect(settings, user="parent", name=f"{pod}-parent")
        except NotConnected as error:
            log.info("not connected yet: %s", error)


async def _start(process: str) -> asyncio.subprocess.Process:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("MODBOT_PARENT_")
    }
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def die_with_parent() -> None:
        # Runs between fork and exec: nothing here may allocate or take a lock it need not.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "components.gateway",
        env={**MEMORY, **environment, PROCESS_VARIABLE: process},
        stdin=asyncio.subprocess.DEVNULL,
        preexec_fn=die_with_parent if sys.platform == "linux" else None,
    )


async def _pass_on(stop: asyncio.Event, child: asyncio.subprocess.Process) -> None:
    await stop.wait()
    if child.returncode is None:
        child.send_signal(signal.SIGTERM)


async def _attest(connecting: "asyncio.Task[Bus]", end: ProcessEnd) -> None:
    try:
        async with asyncio.timeout(ATTEST_WITHIN_S):
            bus = await connecting
            try:
                await _put(Bucket(bus, storage.ENDS), end)
            finally:
                await bus.close()
    except (BusError, TimeoutError) as error:
        log.warning(
            "the end of process %s is not attested, its lease will be waited for: %s",
            end.process,
            error or "NATS does not answer",
        )


async def _put(bucket: Bucket, end: ProcessEnd) -> None:
    while True:
        try:
            await bucket.put(f"{end.pod}.{end.process}", encode(end), ttl_s=KEPT_S)
        except BusError as error:
            log.info("attesting again: %s", error)
            await asyncio.sleep(AGAIN_S)
        else:
            return
