"""Discord's signature over an interaction: Ed25519 over timestamp and raw body.

A timestamp's age is not judged: a request that is sent again has the same interaction id and is
stored once, and a machine with a wrong clock would otherwise refuse everything.
docs: interactions/overview#setting-up-an-endpoint
"""

from typing import Final

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

SIGNATURE_HEX_DIGITS: Final = 128
MAX_TIMESTAMP: Final = 32
"""Characters; Discord sends ten digits."""


class Signatures:
    """Checks signatures by one public key; without a key nothing is ever right."""

    def __init__(self, public_key: str) -> None:
        self._key = VerifyKey(bytes.fromhex(public_key)) if public_key else None

    def plausible(self, signature: str | None, timestamp: str | None) -> bool:
        """Whether the headers are worth reading a body for."""
        return bool(
            self._key
            and signature
            and timestamp
            and len(signature) == SIGNATURE_HEX_DIGITS
            and signature.isascii()
            and len(timestamp) <= MAX_TIMESTAMP
        )

    def right(self, signature: str | None, timestamp: str | None, body: bytes) -> bool:
        """Whether Discord signed this body. False, never an error, for anything malformed."""
        if not self.plausible(signature, timestamp) or not body:
            return False
        assert self._key is not None
        assert signature is not None
        assert timestamp is not None
        try:
            self._key.verify(timestamp.encode() + body, bytes.fromhex(signature))
        except (ValueError, BadSignatureError):  # nacl raises ValueError for a malformed one
            return False
        return True
