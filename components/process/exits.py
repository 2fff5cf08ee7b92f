"""Exit codes between a process and whoever supervises it."""

from typing import Final

OK: Final = 0
CRASHED: Final = 1
"""Unexpected: start it again, after a pause that grows."""
CONFIG: Final = 78
"""Wrong settings or refused credentials (sysexits' EX_CONFIG): starting again cannot help."""


class CannotStart(Exception):
    """The process must not be started again as it is; the words say what a person has to do.
    Raised by a component; ends the process with `CONFIG`."""


class ChildEnded(Exception):
    """The process whose parent we are ended by itself. Raised by a parent; its process ends with
    the same code, or with `CRASHED` when a signal ended the child."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the process ended with {code}")
        self.code = code
