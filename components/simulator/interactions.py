"""Interactions by token. None can be created so far: their routes come with their rules."""


class Interactions:
    """The interactions of this simulator."""
