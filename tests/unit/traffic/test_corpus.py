"""Reading texts: labels survive, wrong files are named with their line."""

from pathlib import Path

import pytest

from components.traffic import corpus


def test_the_own_corpus_has_harmful_and_harmless_texts() -> None:
    texts = corpus.read([])
    harmful = sum(1 for text in texts if text.harmful)
    assert harmful >= 20
    assert len(texts) - harmful >= 40


def test_tab_separated_labels_and_plain_lines_are_read(tmp_path: Path) -> None:
    labelled = tmp_path / "a.tsv"
    labelled.write_text("Label\tText\nham\thello\n\nspam\tbuy now\n")
    plain = tmp_path / "b.txt"
    plain.write_text("just a line\n")
    texts = corpus.read([labelled, plain])
    assert [(t.label, t.text, t.harmful) for t in texts] == [
        ("ham", "hello", False),
        ("spam", "buy now", True),
        ("", "just a line", None),
    ]


def test_json_lines_take_the_most_harmful_label(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(
        '{"text": "x", "labels": ["topic_crypto", "spam", "phishing"]}\n'
        '{"text": "y", "labels": ["topic_news", "clean"]}\n'
        '{"text": "z", "labels": ["topic_news"]}\n'
    )
    assert [(t.label, t.harmful) for t in corpus.read([file])] == [
        ("phishing", True),
        ("clean", False),
        ("other", False),
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.tsv", "no tab here\n", "a.tsv:1: expected label"),
        ("a.jsonl", '{"text": "x"}\n{"text": 5}\n', "a.jsonl:2"),
        ("a.txt", "\n\n", "no text in"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(corpus.BadCorpus, match=words):
        corpus.read([tmp_path / name])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(corpus.BadCorpus, match="nowhere"):
        corpus.read([tmp_path / "nowhere.tsv"])
