"""Removes fences that nothing needs any more, while this replica leads.

A fence stands without a time to live, so that it is seen by everyone who waits for the fenced pod's
silence. Once no assignment names the pod, nobody waits; the key is deleted by compare-and-set, and
a pod that is scaled down for good is not listed for ever. Its last start cannot renew against a
deleted key either."""

import asyncio
import logging

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.config.view import View
from components.config.world import KEPT_S, Pod
from components.process.clock import steady_s
from contracts import storage

log = logging.getLogger(__name__)

EVERY_S = 10.0


def forgettable(view: View, pod: Pod, now_s: float) -> bool:
    """Whether the pod is gone, and nothing waits for it."""
    if pod.away_since_s is None or pod.pod in view.index.by_pod:
        return False
    return now_s - pod.away_since_s > KEPT_S


class Tidier:
    """The leader's broom."""

    def __init__(self, bus: Bus, view: View) -> None:
        self._bucket = Bucket(bus, storage.PODS)
        self._view = view

    async def lead(self) -> None:
        """Tidy until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            if self._view.complete:
                await self.once(steady_s())

    async def once(self, now_s: float) -> None:
        """Delete what can be deleted now."""
        for pod in list(self._view.pods.values()):
            if not pod.fenced or not forgettable(self._view, pod, now_s):
                continue
            try:
                await self._bucket.delete(pod.pod, pod.revision)
            except BusError as error:  # it has started anew, or NATS is away
                log.info("the fence of %s stays for now: %s", pod.pod, error)
            else:
                log.info("the fence of %s is needed by nobody any more", pod.pod)
