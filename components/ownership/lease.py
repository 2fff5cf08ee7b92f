"""How long a lease is certainly held, by the holder's own steady clock.

A renewal counts from *before* it was sent, for TTL minus margin: whatever happened to it on its
way, the server cannot let the key expire earlier (0006, step 1). A lost lease stays lost.
"""

import msgspec


class LeaseClock(msgspec.Struct, kw_only=True):
    """The validity of one lease. Times are seconds of the holder's steady clock."""

    ttl_s: float
    margin_s: float
    until_s: float = float("-inf")
    lost: bool = False

    def renewed(self, sent_s: float) -> None:
        """A renewal that was sent at ``sent_s`` was acknowledged; an old acknowledgement that
        comes late shortens nothing."""
        if not self.lost:
            self.until_s = max(self.until_s, sent_s + self.ttl_s - self.margin_s)

    def lose(self) -> None:
        """The key was written by somebody else, or given back: over for good."""
        self.lost = True
        self.until_s = float("-inf")

    def valid(self, now_s: float) -> bool:
        """Whether the holder may act at this moment."""
        return now_s < self.until_s

    def remaining_s(self, now_s: float) -> float:
        """How long it is certainly held; negative once it is over."""
        return self.until_s - now_s
