"""A real S3 server for a test, over a folder that the test can look into and damage."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from components import binaries
from components.gateway.settings import BackupSettings
from tests.support.nats import free_port

ACCESS, SECRET = "0123456789abcdefghij", "0123456789abcdefghijklmnopqrstuvwxyzABCD"
BUCKET = "modbot"


class Store:
    """An S3 server over a folder; it can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.settings = BackupSettings(
            bucket=BUCKET,
            endpoint=f"http://127.0.0.1:{self.port}",
            access_key=ACCESS,
            secret_key=SECRET,
            look_every_s=0.1,
        )
        self._process: asyncio.subprocess.Process | None = None

    def files(self, prefix: str) -> list[Path]:
        """The objects under a prefix, by their names."""
        under = (self.folder / BUCKET / prefix).rglob("*")
        return sorted(path for path in under if path.is_file())

    async def start(self) -> None:
        """Serve, and wait until it does."""
        (self.folder / BUCKET).mkdir(parents=True, exist_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            str(binaries.find("rclone")),
            *("serve", "s3", str(self.folder), "--addr", f"127.0.0.1:{self.port}"),
            *("--auth-key", f"{ACCESS},{SECRET}", "--config", "/dev/null"),
            *("--vfs-cache-mode", "off"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return

    async def stop(self) -> None:
        """End the server; the objects stay."""
        if self._process is not None:
            self._process.terminate()
            await self._process.wait()
            self._process = None


@asynccontextmanager
async def running_store(folder: Path) -> AsyncIterator[Store]:
    """A server for the length of the block."""
    store = Store(folder)
    await store.start()
    try:
        yield store
    finally:
        await store.stop()
