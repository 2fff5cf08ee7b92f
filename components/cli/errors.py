"""How a command ends that cannot do what it was asked."""


class CommandError(Exception):
    """Printed without a traceback; the words say what to do. ``code`` is the exit code."""

    def __init__(self, words: str, code: int = 1) -> None:
        super().__init__(words)
        self.code = code
