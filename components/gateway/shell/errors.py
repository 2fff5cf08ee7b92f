"""Errors of the gateway's shell.

ShellError
├── GateClosed        the pod may not act for the guild now: nothing was sent
├── HoleFound         the log cannot bring the guild's rows up to date: an operator decides
├── SnapshotFailed    no snapshot of a guild came from its owner: ask again
├── PodGone           who was asked is gone, and with it the answer: ask another
├── ReplicaFailed     no replica of a pod could be restored: another source, or ask again
├── BucketFailed      the backup bucket cannot be reached: ask again
├── ReplicaInUse      there is something under a prefix that should be new: the pod ends
├── EngineFailed      applying failed for a reason that would not replay: the pod stops
└── DataFolderInUse   another process holds the lock on the data folder
"""

from contracts.ids import GuildId, PodId, Sequence


class ShellError(Exception):
    """Base of the shell's errors."""


class GateClosed(ShellError):
    """The pod may not act for the guild at this moment. Wait until the gate opens, or let go."""

    def __init__(self, guild: GuildId | None, reason: str) -> None:
        super().__init__(f"may not act for guild {guild}: {reason}")
        self.guild = guild
        self.reason = reason


class HoleFound(ShellError):
    """What the log holds does not continue what the database holds. The guild is not served;
    ``reason`` is shown to operators."""

    def __init__(self, guild: GuildId, reason: str) -> None:
        super().__init__(f"guild {guild} cannot be served: {reason}")
        self.guild = guild
        self.reason = reason


class SnapshotFailed(ShellError):
    """The owner gave no snapshot, or what it gave could not be taken in. Ask again later."""

    def __init__(self, guild: GuildId, reason: str) -> None:
        super().__init__(f"no snapshot of guild {guild}: {reason}")
        self.guild = guild
        self.reason = reason


class PodGone(ShellError):
    """The start of the pod that was asked is gone, and with it the answer."""

    def __init__(self, pod: PodId, proof: str) -> None:
        super().__init__(f"{pod} is gone: {proof}")
        self.pod = pod
        self.proof = proof


class ReplicaFailed(ShellError):
    """The replica under ``prefix`` could not be restored at any point in time that holds what is
    wanted. ``reason`` is shown to operators."""

    def __init__(self, prefix: str, reason: str) -> None:
        super().__init__(f"replica {prefix} cannot be restored: {reason}")
        self.prefix = prefix
        self.reason = reason


class BucketFailed(ShellError):
    """The backup bucket did not answer, or refused. Serving goes on; try again later."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the backup bucket: {reason}")
        self.reason = reason


class ReplicaInUse(ShellError):
    """Two writers under one prefix destroy a replica without a word (facts.md). Start again: the
    next incarnation has a prefix of its own."""

    def __init__(self, prefix: str) -> None:
        super().__init__(f"{prefix} is not empty: somebody else backs up to it")
        self.prefix = prefix


class EngineFailed(ShellError):
    """The applier stopped, e.g. because the disk is full. Nothing of the batch was committed."""

    def __init__(self, guild: GuildId | None, sequence: Sequence | None, reason: str) -> None:
        where = f" at input {sequence} of guild {guild}" if guild is not None else ""
        super().__init__(f"the engine failed{where}: {reason}")
        self.guild = guild
        self.sequence = sequence


class DataFolderInUse(ShellError):
    """Another process holds the lock on the data folder; wait for its end."""
