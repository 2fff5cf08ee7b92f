"""Feeds the `View` from its buckets, for ever.

After every (re)start of a watch the bucket is read in full from a fresh snapshot, because a watch
that starts over does not tell what was deleted meanwhile. Whatever fails is tried again.

A pod whose lease nobody renews is away also when the server does not let its key expire
(`components.bus.staleness`).
"""

import asyncio
import logging

from components.bus.buckets import Bucket, Entry
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.config.view import BUCKETS, View
from contracts import storage

log = logging.getLogger(__name__)

AGAIN_S = 0.2
"""Pause before a read that failed is tried again."""
LOOK_EVERY_S = 1.0


async def follow(bus: Bus, view: View, pod_ttl_s: float) -> None:
    """Keep the view up to date until cancelled."""
    pods = Bucket(bus, storage.PODS)

    async def lost() -> None:
        view.connection_lost()

    bus.on_lost(lost)
    async with asyncio.TaskGroup() as group:
        for name in BUCKETS:
            group.create_task(_follow(bus, Bucket(bus, name), view), name=f"watch {name}")
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await miss_renewals(pods, view, pod_ttl_s)


async def miss_renewals(bucket: Bucket, view: View, ttl_s: float) -> None:
    """Tell the view of pods whose lease has ended unseen. What it knows may be old, after our own
    process hung for one; so the bucket's leader is asked before anybody counts as away."""
    for pod in list(view.pods.values()):
        if pod.away_since_s is not None:
            continue
        if bucket.remaining_s(pod.pod, pod.revision, ttl_s) > 0:
            continue
        try:
            entry = await bucket.get(pod.pod)
        except BusError as error:
            log.info("cannot look for the lease of %s: %s", pod.pod, error)
            return
        if entry is not None and entry.revision == pod.revision:
            if bucket.ended(entry, ttl_s):
                view.not_renewed(pod.pod, entry.revision)
        else:
            view.reread_pod(pod.pod, entry)


async def _follow(bus: Bus, bucket: Bucket, view: View) -> None:
    async for entry in bucket.watch():
        if entry is not None:
            view.entry(bucket.name, entry)
        elif (entries := await _whole(bus, bucket)) is not None:
            view.reset(bucket.name, entries)


async def _whole(bus: Bus, bucket: Bucket) -> dict[str, Entry] | None:
    """Every entry of the bucket; None when the connection broke, for then the watch starts over
    and asks again."""
    link = bus.link
    while True:
        try:
            entries = await bucket.snapshot()
        except BusError as error:
            log.info("cannot read bucket %s, trying again: %s", bucket.name, error)
            await asyncio.sleep(AGAIN_S)
        else:
            if bus.link == link:
                return entries
        if bus.link != link:
            return None
