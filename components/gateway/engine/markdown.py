"""Other people's text made safe to show in Discord: nothing in it formats, mentions or unfurls."""

import re
from collections.abc import Iterator
from typing import Final

_URL: Final = re.compile(r"https?://[^\s<>]+", re.IGNORECASE)
_SPECIAL: Final = frozenset("\\*_~`|<>[]()")
_LINE_START: Final = re.compile(r"^(\s*)(#{1,3} |-#? |\+ |[0-9]{1,9}[.)] )")
MAX_CONTENT: Final = 2000
"""Characters of a message (docs: resources/channel#create-message)."""


def escaped(text: str) -> str:
    """The text as it was typed, on one or more lines: markup is shown, mentions are inert, links
    stay links without a preview."""
    return "\n".join("".join(_tokens(line)) for line in text.split("\n"))


def quoted(text: str, limit: int = MAX_CONTENT) -> list[str]:
    """The text as block quotes, in pieces that each fit into a message; no escape is cut."""
    pieces: list[str] = []
    current = ""
    for line in text.split("\n"):
        start = f"{current}\n> " if current else "> "
        for token in _tokens(line):
            piece = token if len(token) <= limit - 3 else token[: limit - 4] + "…"
            if len(start) + len(piece) > limit:
                pieces.append(start.removesuffix("\n> "))
                start = "> "
            start += piece
        if len(start) > limit:
            pieces.append(start.removesuffix("\n> "))
            start = "> "
        current = start
    return [*pieces, current]


def excerpt(text: str, length: int) -> str:
    """The first characters of the text on one line, escaped."""
    line = " ".join(text.split())
    return escaped(line if len(line) <= length else line[: length - 1] + "…")


def _tokens(line: str) -> Iterator[str]:
    """Pieces of the escaped line that must not be cut."""
    start = _LINE_START.match(line)
    if start is not None:
        yield start[1]
        # the backslash goes before the mark, for a list behind its number
        mark = start[2]
        yield f"{mark[:-2]}\\{mark[-2:]}" if mark[0].isdigit() else f"\\{mark}"
        line = line[start.end() :]
    position = 0
    for url in _URL.finditer(line):
        yield from map(_escape, line[position : url.start()])
        yield f"<{url[0]}>"
        position = url.end()
    yield from map(_escape, line[position:])


def _escape(character: str) -> str:
    return f"\\{character}" if character in _SPECIAL else character
