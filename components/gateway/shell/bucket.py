"""What is really in the backup bucket: the files that Litestream put there, by listing them.

A replica is a prefix with LTX files: pages that a range of Litestream's transactions changed.
Level 0 holds what was read from the WAL, each file naming the part of the WAL it was made from;
the levels above hold the same, compacted; level 9 whole databases.

Every method raises `BucketFailed` when the bucket cannot be reached or refuses.
"""

import re
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec
import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from components.gateway.settings import BackupSettings
from components.gateway.shell.errors import BucketFailed

if TYPE_CHECKING:
    from obstore.store import S3Config

PODS: Final = "pods"
REQUEST_S: Final = 10
LTX_NAME: Final = re.compile(r"(\d{4})/([0-9a-f]{16})-([0-9a-f]{16})\.ltx$")
LTX_MAGIC: Final = b"LTX1"
LTX_HEADER: Final = 100
"""Bytes (github.com/superfly/ltx, ltx.go)."""
DELETED_AT_ONCE: Final = 1000


class LtxFile(msgspec.Struct, frozen=True, kw_only=True):
    """An object of a replica. ``first`` and ``last`` are transactions as Litestream counts."""

    path: str
    level: int
    first: int
    last: int
    size: int
    stored: datetime
    """By the store's clock."""


class WalPart(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a WAL that a level 0 file was made from; ``salt`` 0: of none."""

    salt: int
    end: int
    """Offset in the WAL file behind the last frame."""


class ReplicaBucket:
    """The bucket of the settings."""

    def __init__(self, settings: BackupSettings) -> None:
        config: S3Config = {
            "region": settings.region,
            "virtual_hosted_style_request": not settings.endpoint,
        }
        if settings.endpoint:
            config["endpoint"] = settings.endpoint
        if settings.access_key:  # else what the machine is allowed
            config["access_key_id"] = settings.access_key
            config["secret_access_key"] = settings.secret_key
        limit = timedelta(seconds=REQUEST_S)
        self._store = S3Store(
            settings.bucket,
            config=config,
            client_options={
                "allow_http": settings.endpoint.startswith("http://"),
                "timeout": limit,
            },
            retry_config={"max_retries": 2, "retry_timeout": limit},
        )

    async def files(
        self, replica: str, *, level: int | None = None, after: str | None = None
    ) -> list[LtxFile]:
        """The replica's files in the order of their paths; of one level, or of all; only those
        whose path sorts behind ``after``."""
        prefix = f"{replica}/" if level is None else f"{replica}/{level:04d}/"
        with _reaching():
            found = await obstore.list(self._store, prefix=prefix, offset=after).collect_async()
        files = []
        for item in found:
            if (named := LTX_NAME.search(item["path"])) is None:
                continue
            files.append(
                LtxFile(
                    path=item["path"],
                    level=int(named[1]),
                    first=int(named[2], 16),
                    last=int(named[3], 16),
                    size=item["size"],
                    stored=item["last_modified"],
                )
            )
        return sorted(files, key=lambda file: file.path)

    async def wal_part(self, file: LtxFile) -> WalPart | None:
        """Which part of the WAL a file holds; None when it has been compacted away meanwhile, or
        is no LTX file."""
        # Not a range: rclone answers one with status 200, which the client takes for an error.
        head = b""
        with _reaching():
            try:
                answer = await obstore.get_async(self._store, file.path)
                async for part in answer.stream(min_chunk_size=LTX_HEADER):
                    head += bytes(part)
                    if len(head) >= LTX_HEADER:
                        break
            except FileNotFoundError:
                return None
        if len(head) < LTX_HEADER or not head.startswith(LTX_MAGIC):
            return None
        offset, size, salt = struct.unpack_from(">qqI", head, 48)
        return WalPart(salt=salt, end=offset + size)

    async def replicas(self) -> list[str]:
        """The prefixes of all replicas: ``pods/<pod>/<incarnation>``."""
        found = []
        with _reaching():
            pods = await obstore.list_with_delimiter_async(self._store, prefix=f"{PODS}/")
            for pod in pods["common_prefixes"]:
                under = await obstore.list_with_delimiter_async(
                    self._store, prefix=f"{pod.rstrip('/')}/"
                )
                found += [prefix.rstrip("/") for prefix in under["common_prefixes"]]
        return sorted(found)

    async def remove(self, replica: str) -> int:
        """Delete every object of a replica; returns how many there were."""
        removed = 0
        with _reaching():
            found = await obstore.list(self._store, prefix=f"{replica}/").collect_async()
            paths = [item["path"] for item in found]
            for start in range(0, len(paths), DELETED_AT_ONCE):
                part = paths[start : start + DELETED_AT_ONCE]
                await obstore.delete_async(self._store, part)
                removed += len(part)
        return removed


def reach(files: Collection[LtxFile], reached: int = 0) -> int:
    """The last transaction up to which the files leave none out, from ``reached`` on."""
    for file in sorted(files, key=lambda file: file.first):
        if file.first > reached + 1:
            break
        reached = max(reached, file.last)
    return reached


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        words = str(error).strip().splitlines()
        raise BucketFailed(words[0] if words else type(error).__name__) from error
