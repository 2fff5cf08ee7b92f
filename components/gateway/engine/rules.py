"""A guild's settings made ready for use: keywords compiled, names folded, channels as a set.

Compiled once per document: the cache is keyed by the document's bytes and so can never be stale,
whatever is rolled back.
"""

import sqlite3
from typing import Final

import msgspec
import re2

from contracts.ids import GuildId
from contracts.settings import GuildSettings

_WORD: Final = r"\pL\pN"
"""What makes a word: letters and digits. The underscore separates, since Discord's markdown
hides ``_free_`` behind italics."""
_CACHED_DOCUMENTS: Final = 1024


class Keywords:
    """Finds whole words and phrases in one linear pass, without regard to case.

    A boundary is asked for only where the keyword itself ends in a letter or digit, so that
    ``18+`` is literal and still no part of ``118+``."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self._words: list[str] = []
        options = re2.Options()
        options.case_sensitive = False
        options.max_mem = 64 << 20  # 2,500 keywords of 100 characters stay far below
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        for word in dict.fromkeys(word.strip().lower() for word in words):
            self._set.Add(_pattern(word))
            self._words.append(word)
        if self._words:
            self._set.Compile()

    def found(self, text: str) -> list[str]:
        """The keywords in the text, each once, in the order of the settings."""
        if not self._words or not text:
            return []
        matches = self._set.Match(text)
        return [self._words[index] for index in sorted(matches)] if matches else []


class Rules:
    """Settings in force, with what is derived from them."""

    def __init__(self, settings: GuildSettings, version: int) -> None:
        words = settings.spam.keywords
        self.settings = settings
        self.version = version
        self.spam = settings.spam
        self.bad_keywords = Keywords(words.scam + words.nsfw + words.crypto + words.phishing)
        self.safe_keywords = Keywords(words.safe)
        self.exempt_names = frozenset(
            name.strip().casefold() for name in settings.spam.exempt_role_names
        )
        self.honeypots = frozenset(settings.spam.honeypot_channels)


class RulesCache:
    """Rules by document."""

    def __init__(self) -> None:
        self._defaults = Rules(GuildSettings(), 0)
        self._by_document: dict[tuple[int, bytes], Rules] = {}

    def in_force(self, database: sqlite3.Connection, guild: GuildId) -> Rules:
        """The rules of the guild's newest settings."""
        row = database.execute(
            "SELECT version, document FROM settings WHERE guild_id = ?"
            " ORDER BY version DESC LIMIT 1",
            (guild,),
        ).fetchone()
        return self._defaults if row is None else self.rules(row[0], row[1])

    def rules(self, version: int, document: bytes) -> Rules:
        """The rules of a stored document."""
        key = (version, document)
        rules = self._by_document.get(key)
        if rules is None:
            if len(self._by_document) >= _CACHED_DOCUMENTS:
                self._by_document.clear()
            rules = Rules(msgspec.json.decode(document, type=GuildSettings), version)
            self._by_document[key] = rules
        return rules


def _pattern(word: str) -> str:
    body = r"\s+".join(str(re2.escape(part)) for part in word.split())
    before = rf"(?:^|[^{_WORD}])" if word[0].isalnum() else ""
    after = rf"(?:$|[^{_WORD}])" if word[-1].isalnum() else ""
    return f"{before}(?:{body}){after}"
