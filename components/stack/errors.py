"""Errors of the local stack. All end `modbot up` with their words and no traceback.

StackError
├── AlreadyRunning   another `modbot up` uses the data folder
├── AccountRefused   the Discord account cannot be used as it is
├── OtherApplication the data folder belongs to another Discord application
├── OtherNodes       the streams are kept by another number of NATS servers
├── StartFailed      a process did not become ready
└── Refused          a process said that starting it again cannot help (exit code 78)
"""


class StackError(Exception):
    """Base of the stack's errors; the words say what a person can do."""


class AlreadyRunning(StackError):
    """Another `modbot up` holds the lock on the data folder. Stop it, or use another folder."""


class AccountRefused(StackError):
    """Discord refuses the token, or the application lacks something. Nothing was started."""


class OtherApplication(StackError):
    """The folder's guilds are those of another application. Use another folder, or reset it."""


class OtherNodes(StackError):
    """Servers of the streams cannot be added or left out afterwards. The words say what to do."""


class StartFailed(StackError):
    """A process ended or stayed silent before it was ever ready."""


class Refused(StackError):
    """A process ended with `exits.CONFIG`; its last words are part of the message."""
