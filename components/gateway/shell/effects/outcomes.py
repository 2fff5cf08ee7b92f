"""How an attempt at an effect can end, other than well.

AttemptError
├── Refused     Discord's final no: the effect failed, with its code and words
├── Again       try later; ``in_doubt`` when the attempt may have happened
├── Expired     of no use any more
└── Parked      cannot be settled by rule: a person decides
"""

from typing import Final

from contracts.inputs import EffectError

MAX_WORDS: Final = 500
"""Of what Discord said; the errors of a long form can be many."""


class AttemptError(Exception):
    """Base of the endings of an attempt."""


class Refused(AttemptError):
    """A permanent 4xx. ``error`` is shown to moderators."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(f"{status}/{code}: {message}")
        self.status = status
        self.code = code
        self.error = EffectError(status=status, code=code, message=message[:MAX_WORDS])


class Again(AttemptError):
    """Back to the outbox. ``after_s`` None: by growing backoff."""

    def __init__(self, reason: str, *, after_s: float | None = None, in_doubt: bool) -> None:
        super().__init__(reason)
        self.after_s = after_s
        self.in_doubt = in_doubt


class Expired(AttemptError):
    """Doing it now would be wrong or useless, e.g. a timeout whose end has passed."""


class Parked(AttemptError):
    """In doubt, and nothing tells whether it happened."""
