"""Files by which chaos speaks to the stack's processes, and by which what it loaded into them
(`components.chaos.inside`) says that it struck.

A hook that was not loaded, or that nothing came past, would look like a product that holds:
`Flags.require_struck` raises `NotThere` for it.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path


class NotThere(Exception):
    """The scenario needs something that this installation does not have; the words name it."""


class Flags:
    """The folder of the files; shared by all faults of a round."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._holds: Counter[str] = Counter()

    def path(self, name: str) -> Path:
        """The file with this name."""
        return self._folder / name

    @contextlib.contextmanager
    def held(self, *names: str) -> Iterator[None]:
        """These replicas, once ended, do not start again inside the block; of several blocks for
        one replica the last one counts."""
        try:
            for name in names:
                self._holds[name] += 1
                if self._holds[name] == 1:
                    self.forget("hold", name)
                    self.path(f"hold-{name}").touch()
            yield
        finally:
            for name in names:
                self._holds[name] -= 1
                if not self._holds[name]:
                    self.path(f"hold-{name}").unlink(missing_ok=True)

    def forget(self, hook: str, replica: str) -> None:
        """Whatever the hook did before does not count."""
        self._struck(hook, replica).unlink(missing_ok=True)

    def has_struck(self, hook: str, replica: str) -> bool:
        """Whether the hook did its harm in the replica since `forget`."""
        return self._struck(hook, replica).exists()

    def require_struck(self, hook: str, replica: str) -> None:
        """Raises `NotThere` unless the hook did its harm in the replica since `forget`."""
        if not self.has_struck(hook, replica):
            raise NotThere(f"{replica} to come past the hook `{hook}`, which never struck")

    def _struck(self, hook: str, replica: str) -> Path:
        return self.path(f"struck-{hook}-{replica}")
