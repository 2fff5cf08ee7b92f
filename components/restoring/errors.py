"""Why something cannot be rebuilt; the words are for operators and say what to do."""


class CannotRebuild(Exception):
    """There is nothing to rebuild the guild from, or what there is does not fit."""


class TooEarly(CannotRebuild):
    """Asked for a moment before the earliest one that can be rebuilt."""

    def __init__(self, words: str, earliest_ms: int) -> None:
        super().__init__(words)
        self.earliest_ms = earliest_ms
