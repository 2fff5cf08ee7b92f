"""A stream as its leader describes it: how full it is, how old, where its copies are.

Raises what `Bus.ask` raises (nobody answers while a cluster elects the stream's leader) and
`Refused` with the server's words, e.g. for a stream that does not exist.
"""

import msgspec

from components.bus.connection import Bus, refusal
from components.bus.stream import milliseconds
from contracts.ids import Sequence

NANOSECONDS = 1_000_000_000


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A copy of a stream beside its leader's, as the leader sees it."""

    name: str
    """Of the server."""
    current: bool = False
    offline: bool = False
    """The leader cannot reach the server."""


class StreamInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Times are milliseconds since 1970 by the server's clock; limits of 0: there is none."""

    name: str
    now_ms: int
    size: int
    """Bytes."""
    max_size: int
    max_age_s: float
    refuses_when_full: bool
    first: Sequence
    """Sequences as in `StreamBounds`."""
    last: Sequence
    first_ms: int
    """When its oldest message was stored; of no meaning when it is empty."""
    leader: str = ""
    """Of a server that stands alone: itself, or empty."""
    copies: list[Copy] = []


async def stream_info(bus: Bus, stream: str, *, timeout_s: float = 2.0) -> StreamInfo:
    """Ask the stream's leader."""
    subject = f"$JS.API.STREAM.INFO.{stream}"
    answer = _decode((await bus.ask(subject, b"", timeout_s=timeout_s)).data)
    if answer.error is not None:
        error = answer.error
        raise refusal(stream, error.code, error.err_code, error.description)
    config, state, cluster = answer.config, answer.state, answer.cluster
    return StreamInfo(
        name=stream,
        now_ms=milliseconds(answer.ts),
        size=state.bytes,
        max_size=max(0, config.max_bytes),
        max_age_s=config.max_age / NANOSECONDS,
        refuses_when_full=config.discard == "new",
        first=Sequence(state.first_seq),
        last=Sequence(state.last_seq),
        first_ms=milliseconds(state.first_ts),
        leader=cluster.leader if cluster is not None else "",
        copies=cluster.replicas if cluster is not None else [],
    )


class _Error(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Config(msgspec.Struct):
    max_bytes: int = -1
    max_age: int = 0
    discard: str = "old"


class _State(msgspec.Struct):
    bytes: int = 0
    first_seq: int = 0
    last_seq: int = 0
    first_ts: str = "0001-01-01T00:00:00Z"


class _Cluster(msgspec.Struct):
    leader: str = ""
    replicas: list[Copy] = []


class _Answer(msgspec.Struct):
    ts: str = "1970-01-01T00:00:00Z"
    config: _Config = msgspec.field(default_factory=_Config)
    state: _State = msgspec.field(default_factory=_State)
    cluster: _Cluster | None = None
    error: _Error | None = None


_decode = msgspec.json.Decoder(_Answer).decode
