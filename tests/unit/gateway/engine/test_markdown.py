"""Other people's text is shown as typed: no markup, no mention, no preview."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.gateway.engine.markdown import MAX_CONTENT, escaped, excerpt, quoted


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("plain", "plain"),
        ("`a` ``b`` ```c```", "\\`a\\` \\`\\`b\\`\\` \\`\\`\\`c\\`\\`\\`"),
        ("*a* _b_ ~~c~~ ||d||", "\\*a\\* \\_b\\_ \\~\\~c\\~\\~ \\|\\|d\\|\\|"),
        ("\\*", "\\\\\\*"),
        ("<@5> <t:1:R>", "\\<@5\\> \\<t:1:R\\>"),
        ("[nice](https://evil.example)", "\\[nice\\]\\(<https://evil.example)>"),
        ("see https://a.example/b_c_d now", "see <https://a.example/b_c_d> now"),
        ("<https://a.example>", "\\<<https://a.example>\\>"),
        ("# big", "\\# big"),
        ("-# small", "\\-# small"),
        ("- item", "\\- item"),
        ("1. item", "1\\. item"),
        ("> quote", "\\> quote"),
        ("two\n# lines", "two\n\\# lines"),
    ],
)
def test_markup_is_shown_and_links_stay_whole(typed: str, shown: str) -> None:
    assert escaped(typed) == shown


@given(st.text(alphabet="ab `*_\\<>\n#-1.[]()|~", max_size=300), st.integers(20, 60))
def test_quotes_fit_and_lose_nothing(typed: str, limit: int) -> None:
    pieces = quoted(typed, limit)
    assert all(len(piece) <= limit for piece in pieces)
    lines = [line for piece in pieces for line in piece.split("\n")]
    assert all(line.startswith("> ") for line in lines)
    shown = "".join(line.removeprefix("> ") for line in lines)
    assert shown == escaped(typed).replace("\n", "")


def test_a_link_longer_than_a_message_is_cut() -> None:
    (piece, *more) = quoted("https://x.example/" + "a" * 3000)
    assert len(piece) <= MAX_CONTENT
    assert more == []
    assert piece.endswith("…")


def test_an_excerpt_is_one_line_of_the_first_characters() -> None:
    assert excerpt("a\n b   c", 80) == "a b c"
    assert excerpt("x" * 100, 80) == "x" * 79 + "…"
