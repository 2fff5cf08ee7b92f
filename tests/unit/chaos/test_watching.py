"""What the watches have shown says how long a fenced pod may have acted."""

from types import SimpleNamespace

import pytest

from components.chaos.watching import Change, Fence, Watched, WatchEnded
from contracts import storage
from contracts.ids import Incarnation, PodId
from contracts.message import encode
from contracts.records import PodLease


def lease(state: str, ttl_s: float, incarnation: str = "a-1") -> bytes:
    return encode(
        PodLease(
            pod=PodId("gateway-0"),
            incarnation=Incarnation(incarnation),
            data="",
            state=state,  # type: ignore[arg-type]
            capacity=1,
            version="",
            engine_version=1,
            started_ms=0,
            ttl_s=ttl_s,
        )
    )


def shown(*values: bytes) -> Watched:
    watched = Watched()
    for at, value in enumerate(values):
        watched.changes.append(
            Change(
                seen_ms=float(at), bucket=storage.PODS, key="gateway-0", revision=at, value=value
            )
        )
    return watched


def test_a_fence_has_the_ttl_of_the_lease_that_it_overwrote() -> None:
    watched = shown(lease("serving", 12.0), lease("fenced", 12.0), lease("fenced", 12.0))
    assert watched.fences() == {("gateway-0", "a-1"): Fence(seen_ms=1.0, ttl_s=12.0)}


def test_the_fence_of_a_forgotten_pod_has_the_longest_ttl_that_the_pod_named() -> None:
    watched = shown(lease("serving", 12.0), lease("serving", 6.0), lease("fenced", 5.0))
    assert watched.fences()["gateway-0", "a-1"].ttl_s == 12.0


async def test_a_watch_that_has_ended_is_told_whenever_it_is_asked() -> None:
    watched = Watched()
    watched.require_alive()
    with pytest.raises(ExceptionGroup):
        await watched.run(SimpleNamespace())  # type: ignore[arg-type]  # nothing to watch with
    with pytest.raises(WatchEnded):
        watched.require_alive()
