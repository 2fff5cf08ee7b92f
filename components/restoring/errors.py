"""Why something cannot be restored; the words are for operators and say what to do."""

from contracts.ids import GuildId


class RestoringError(Exception):
    """Base of the tools' errors."""


class CannotRebuild(RestoringError):
    """There is nothing to rebuild the guild from, or what there is does not fit."""


class TooEarly(CannotRebuild):
    """Asked for a moment before ``earliest_ms``, the earliest one that can be rebuilt."""

    def __init__(self, words: str, earliest_ms: int) -> None:
        super().__init__(words)
        self.earliest_ms = earliest_ms


class OwnerRefused(RestoringError):
    """The guild's owner said no, or there is none."""

    def __init__(self, guild: GuildId, words: str) -> None:
        super().__init__(words)
        self.guild = guild
