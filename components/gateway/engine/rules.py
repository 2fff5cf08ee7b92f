"""A guild's settings made ready for use: keywords compiled, names folded, channels as a set.

Compiled once per document: the cache is keyed by the document's bytes and so can never be stale,
whatever is rolled back.
"""

from functools import lru_cache
from typing import Final

import msgspec
import re2

from contracts.settings import GuildSettings

_CACHED_DOCUMENTS: Final = 1024


class Keywords:
    """Finds whole words and phrases, without regard to case or to how much space is between.

    One linear pass finds which keywords occur at all; those few are then looked at for their
    boundaries. Patterns with boundaries in them take RE2 13 ms to compile for the default list,
    these 0.2 ms, and every guild may bring its own list. A boundary is asked for only where the
    keyword itself ends in a letter or digit: ``18+`` is literal, and still no part of ``118+``.
    The underscore separates, since Discord's markdown hides ``_free_`` behind italics."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self._words = list(dict.fromkeys(map(fold, words)))
        options = re2.Options()
        options.max_mem = 64 << 20  # 2,500 keywords of 100 characters stay far below
        self._set = re2.Set.SearchSet(options)
        for word in self._words:
            self._set.Add(re2.escape(word))
        if self._words:
            self._set.Compile()

    def found(self, folded: str) -> list[str]:
        """The keywords in a text (`fold`), each once, in the order of the settings."""
        if not self._words or not folded:
            return []
        candidates = sorted(self._set.Match(folded) or ())
        return [word for word in map(self._words.__getitem__, candidates) if _whole(word, folded)]


class Rules:
    """Settings in force, with what is derived from them."""

    def __init__(self, settings: GuildSettings, version: int) -> None:
        words = settings.spam.keywords
        self.settings = settings
        self.version = version
        self.spam = settings.spam
        self.bad_keywords = _keywords(words.scam + words.nsfw + words.crypto + words.phishing)
        self.safe_keywords = _keywords(words.safe)
        self.exempt_names = frozenset(
            name.strip().casefold() for name in settings.spam.exempt_role_names
        )
        self.honeypots = frozenset(settings.spam.honeypot_channels)


class RulesCache:
    """Rules by document."""

    def __init__(self) -> None:
        self._defaults = Rules(GuildSettings(), 0)
        self._by_document: dict[tuple[int, bytes], Rules] = {}

    def of(self, version: int | None, document: bytes | None) -> Rules:
        """The rules of a stored document; the defaults without one."""
        if version is None or document is None:
            return self._defaults
        key = (version, document)
        rules = self._by_document.get(key)
        if rules is None:
            if len(self._by_document) >= _CACHED_DOCUMENTS:
                self._by_document.clear()
            rules = Rules(msgspec.json.decode(document, type=GuildSettings), version)
            self._by_document[key] = rules
        return rules


@lru_cache(maxsize=_CACHED_DOCUMENTS)
def _keywords(words: tuple[str, ...]) -> Keywords:
    """Most guilds keep the default lists and share what is compiled."""
    return Keywords(words)


def fold(text: str) -> str:
    """A text as keywords are looked for in it: of one case, words apart by one space."""
    return " ".join(text.casefold().split())


def _whole(word: str, text: str) -> bool:
    """Whether the word occurs with nothing of a word before or after it."""
    before, after = word[0].isalnum(), word[-1].isalnum()
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        if not (before and start > 0 and text[start - 1].isalnum()) and not (
            after and end < len(text) and text[end].isalnum()
        ):
            return True
        start = text.find(word, start + 1)
    return False
