"""Discord's signatures."""

from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from components.edge.signatures import Signatures

KEY = SigningKey(b"k" * 32)
SIGNATURES = Signatures(KEY.verify_key.encode().hex())


def sign(timestamp: str, body: bytes) -> str:
    return KEY.sign(timestamp.encode() + body).signature.hex()


@given(st.text("0123456789", min_size=1, max_size=20), st.binary(min_size=1, max_size=200))
def test_what_discord_signed_is_right(timestamp: str, body: bytes) -> None:
    assert SIGNATURES.right(sign(timestamp, body), timestamp, body)


@given(st.none() | st.text(max_size=140), st.none() | st.text(max_size=40), st.binary(max_size=50))
def test_nothing_else_is_right_and_nothing_raises(
    signature: str | None, timestamp: str | None, body: bytes
) -> None:
    assert not SIGNATURES.right(signature, timestamp, body)


@given(st.integers(0, 127), st.sampled_from("0123456789abcdef xé"))
def test_one_changed_digit_makes_it_wrong(place: int, digit: str) -> None:
    right = sign("1700000000", b"{}")
    changed = right[:place] + digit + right[place + 1 :]
    assert SIGNATURES.right(changed, "1700000000", b"{}") == (changed == right)


def test_the_digits_of_a_signature_may_be_capitals() -> None:
    assert SIGNATURES.right(sign("1", b"{}").upper(), "1", b"{}")


def test_an_empty_body_is_never_right() -> None:
    assert not SIGNATURES.right(sign("1", b""), "1", b"")


def test_without_a_key_nothing_is_right() -> None:
    assert not Signatures("").right(sign("1", b"{}"), "1", b"{}")
