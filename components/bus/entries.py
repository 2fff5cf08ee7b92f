"""An entry of a bucket, as data: apart from `buckets`, so that state machines can take it in
without knowing how it came."""

import msgspec


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A key's latest value; ``value`` None means that it was deleted or has expired."""

    key: str
    value: bytes | None
    revision: int
    created_ms: int
    ttl_s: int = 0
    """The time to live it was written with; 0 for none, and in what a watch or a snapshot shows."""
    expired: bool = False
    """The server let it expire; False for a deletion, and in what a watch or a snapshot shows."""
