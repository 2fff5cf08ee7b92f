"""All pods replicate to one path of the bucket, and nobody looks whether it is empty."""

from typing import Any

from components.chaos.inside.control import IS_GATEWAY

SHARED = "pods/shared/one"


def install() -> None:
    """Give every backup and every lease the same prefix."""
    if not IS_GATEWAY:
        return
    from components.gateway.shell.backup import Backup
    from components.gateway.shell.pod import Pod

    made, change = Backup.__init__, Pod.change

    def shared(self: Backup, settings: Any, database: Any, prefix: str, **more: Any) -> None:
        made(self, settings, database, SHARED, **more)

    async def taken_for_empty(self: Backup) -> None:
        return

    async def changed(self: Pod, **changes: Any) -> None:
        if changes.get("replica"):
            changes["replica"] = SHARED
        await change(self, **changes)

    Backup.__init__ = shared  # type: ignore[method-assign]
    if hasattr(Backup, "_check_empty"):
        Backup._check_empty = taken_for_empty  # type: ignore[method-assign]
    Pod.change = changed  # type: ignore[method-assign]
