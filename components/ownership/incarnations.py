"""The order of a pod's starts."""

from contracts.ids import Incarnation


def parts(incarnation: Incarnation) -> tuple[str, int] | None:
    """Bucket creation and revision of ``<bucket creation>-<revision>``; None for another shape."""
    bucket, _, revision = incarnation.rpartition("-")
    return (bucket, int(revision)) if revision.isdecimal() else None


def is_newer(incarnation: Incarnation, than: Incarnation) -> bool:
    """Whether the incarnation that a pod's lease shows came after the other one of the same pod.

    Revisions order the starts within one bucket. In another bucket (NATS was rebuilt) the one
    that the lease shows is the newer one, for it was just seen.
    """
    here, there = parts(incarnation), parts(than)
    if here is None or there is None or here[0] != there[0]:
        return incarnation != than
    return here[1] > there[1]
