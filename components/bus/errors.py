"""Errors of the bus.

BusError
├── NotConnected       nothing was sent
├── TooLarge           nothing was sent, and never will be: the server takes no such size
├── Unanswered         sent, no answer inside the deadline: it may have happened
├── NoOwner            nobody listens on the subject
└── Refused            the server or the responder said no; carries its code
    ├── Unavailable         a cluster cannot say now: nothing was done, ask again
    └── WrongLastSequence   compare-and-set lost (err_code 10071)
"""


class BusError(Exception):
    """Base of the bus's errors."""


class NotConnected(BusError):
    """There is no connection; nothing was sent and nothing is queued."""

    def __init__(self, words: str = "not connected to NATS") -> None:
        super().__init__(words)


class TooLarge(BusError):
    """The message is larger than the server takes (``max_payload``); sending it again is of no
    use. A stream may have a limit of its own, which it tells by `Refused`."""

    def __init__(self, subject: str, size: int) -> None:
        super().__init__(f"{size} bytes for {subject} are more than the bus takes")
        self.subject = subject
        self.size = size


class Unanswered(BusError):
    """The deadline passed. The request may have been carried out: send it again under the same
    id, or read before deciding."""

    def __init__(self, subject: str, timeout_s: float) -> None:
        super().__init__(f"no answer on {subject} within {timeout_s:g} s")
        self.subject = subject
        self.timeout_s = timeout_s


class NoOwner(BusError):
    """No responder listens on the subject: nobody owns it at the moment."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"nobody answers on {subject}")
        self.subject = subject


class Refused(BusError):
    """The server refused; ``err_code`` is its own number."""

    def __init__(self, subject: str, code: int, err_code: int, description: str) -> None:
        super().__init__(f"{subject}: {description} ({code}/{err_code})")
        self.subject = subject
        self.code = code
        self.err_code = err_code
        self.description = description


class Unavailable(Refused):
    """A cluster has no leader at the moment, or its new one has not caught up. Nothing was stored:
    send it again under the same id."""


class WrongLastSequence(Refused):
    """Somebody else wrote in between, or this very write landed before (10071)."""
