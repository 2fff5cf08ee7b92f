"""Errors in replies, by the NATS services convention.

A reply that is an error carries ``Nats-Service-Error`` (words that say what to do) and
``Nats-Service-Error-Code`` (an HTTP-like status), and an `ErrorBody` as its data.
"""

from typing import Final

from contracts.message import Message


class ErrorCode:
    """Codes of error replies; the meaning follows HTTP."""

    MALFORMED: Final = 400
    FORBIDDEN: Final = 403
    NOT_FOUND: Final = 404
    UNKNOWN_VERB: Final = 405
    TIMEOUT: Final = 408
    CONFLICT: Final = 409
    TOO_LARGE: Final = 413
    MOVED: Final = 421
    """The guild has another owner now, or will have in a moment: ask again at once, a write under
    the same request id."""
    INVALID: Final = 422
    PARKED: Final = 423
    UNREADABLE: Final = 500
    """A row that the answer needs is damaged. Asking again does not help; the rest is served."""
    UNAVAILABLE: Final = 503


class FieldError(Message, frozen=True, kw_only=True):
    """One invalid field; ``path`` as in ``spam.thresholds.low``."""

    path: str
    reason: str


class ErrorBody(Message, frozen=True, kw_only=True):
    """The data of an error reply."""

    code: int
    error: str
    fields: list[FieldError] = []


class ServiceError(Exception):
    """A request was refused. Raised by the caller's side of a request and by its handler;
    ``code`` is an `ErrorCode`, ``description`` says what to do."""

    def __init__(self, code: int, description: str, fields: list[FieldError] | None = None) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description
        self.fields = fields or []

    def body(self) -> ErrorBody:
        """The error as the data of a reply."""
        return ErrorBody(code=self.code, error=self.description, fields=self.fields)
