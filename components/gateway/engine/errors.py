"""What the engine raises.

    EngineError
    ├── InvalidInput    an input that cannot be applied: quarantined, the guild goes on
    ├── RowsRefused     rows from elsewhere that this code must not take in
    └── MisuseOfEngine  the shell broke the engine's contract: a bug, the pod stops
        ├── UnknownGuild
        ├── OutOfOrder
        ├── GuildParked
        └── UnsupportedVersion

Everything else that leaves `Engine.apply` (I/O, memory) stops the pod as well: skipping an input
for a reason that is not computed from input and state would not replay.
"""

from contracts.ids import GuildId, Sequence


class EngineError(Exception):
    """Base of the engine's own errors."""


class InvalidInput(EngineError):
    """The input is not what its kind promises. Computed from input and state alone, so every
    owner quarantines the same inputs. ``reason`` is shown to operators and holds no content."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RowsRefused(EngineError):
    """Rows that came from elsewhere are newer than this code, damaged, or not there. Nothing was
    written; take them from another source, or with newer code."""


class MisuseOfEngine(EngineError):
    """The caller broke the contract; nothing was written."""


class UnknownGuild(MisuseOfEngine):
    """The database holds no rows of the guild: call `Engine.create` first."""

    def __init__(self, guild: GuildId) -> None:
        super().__init__(f"no rows of guild {guild}")
        self.guild = guild


class OutOfOrder(MisuseOfEngine):
    """The input is at or below the checkpoint."""

    def __init__(self, guild: GuildId, sequence: Sequence, checkpoint: Sequence) -> None:
        super().__init__(f"guild {guild}: input {sequence} is not after checkpoint {checkpoint}")
        self.guild = guild
        self.sequence = sequence
        self.checkpoint = checkpoint


class GuildParked(MisuseOfEngine):
    """The guild waits at a poison input; only `Engine.skip` moves it."""

    def __init__(self, guild: GuildId, sequence: Sequence) -> None:
        super().__init__(f"guild {guild} is parked at input {sequence}")
        self.guild = guild
        self.sequence = sequence


class UnsupportedVersion(MisuseOfEngine):
    """The log asks for an engine version that this code does not know: the pod is too old for
    the guild and must not serve it."""

    def __init__(self, guild: GuildId, version: int) -> None:
        super().__init__(f"guild {guild} needs engine version {version}")
        self.guild = guild
        self.version = version
