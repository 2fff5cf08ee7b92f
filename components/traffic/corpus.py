"""Reads texts to post: ``label<TAB>text`` lines, JSON lines with ``text`` and ``labels``, or one
text a line. Raises `BadCorpus` with file and line for anything else."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

OWN = Path(__file__).with_name("corpus.tsv")
"""The project's own small corpus."""

HARMFUL = ("phishing", "recovery_scam", "scam", "spam")
"""Labels of what moderators remove, the most telling first."""
MAX_TEXT = 2000
"""Characters of a Discord message (docs: resources/message#create-message)."""


class BadCorpus(ValueError):
    """A file of texts cannot be read; the words name the file, the line and what is expected."""


class LabelledText(msgspec.Struct, frozen=True):
    """A text and what it is known to be; the label is empty for unlabelled texts."""

    text: str
    label: str

    @property
    def harmful(self) -> bool | None:
        """Whether the label says spam of some kind; None without a label."""
        return None if not self.label else self.label in HARMFUL


class _Row(msgspec.Struct):
    text: str
    labels: list[str] = []


def read(paths: list[Path]) -> list[LabelledText]:
    """All texts of the files, in order; the project's own corpus when none is named."""
    texts = [text for path in paths or [OWN] for text in _file(path)]
    if not texts:
        raise BadCorpus(f"no text in {', '.join(map(str, paths))}")
    return texts


def _file(path: Path) -> Iterator[LabelledText]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadCorpus(f"cannot read {path}: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if path.suffix == ".jsonl":
            yield _json_row(path, number, line)
        elif path.suffix == ".tsv":
            label, tab, text = line.partition("\t")
            if not tab or not text.strip():
                raise BadCorpus(f"{path}:{number}: expected label<TAB>text")
            if number == 1 and label.strip().lower() == "label":
                continue  # the columns' names
            yield LabelledText(text[:MAX_TEXT], label.strip())
        else:
            yield LabelledText(line[:MAX_TEXT], "")


def _json_row(path: Path, number: int, line: str) -> LabelledText:
    try:
        row = msgspec.json.decode(line, type=_Row)
    except msgspec.MsgspecError as error:
        raise BadCorpus(f"{path}:{number}: {error}") from error
    return LabelledText(row.text[:MAX_TEXT], _label(row.labels))


def _label(labels: list[str]) -> str:
    """One label of many: the most harmful, else ``clean``, else ``other`` for a mere topic."""
    for label in (*HARMFUL, "clean"):
        if label in labels:
            return label
    return "other" if labels else ""
