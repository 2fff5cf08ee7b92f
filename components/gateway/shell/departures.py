"""Who waits for the word of another pod stops waiting once that start of it is known to be gone: a
request that dies with its responder is answered by nobody, and NATS does not say so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from components.gateway.shell.errors import PodGone
from components.ownership.evidence import Evidence
from contracts.records import Holder


class Departures:
    """Of the pods that this one asks for something."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._waiting: dict[asyncio.Timeout, Holder] = {}

    def look(self) -> None:
        """Something was seen of a pod that may prove that a start of it is gone."""
        for scope, holder in self._waiting.items():
            if self._proof(holder) and not scope.expired():
                scope.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def noticed(self, holder: Holder) -> AsyncIterator[None]:
        """Ends what is awaited inside, and raises `PodGone`, once the start is gone. Of one that is
        gone already the pod's next start is asked; if none is known to live, nobody: for a moment
        a request still goes to who has died."""
        if proof := self._proof(holder):
            living = self._evidence.living(holder.pod)
            if living is None:
                raise PodGone(holder.pod, proof)
            holder = Holder(pod=holder.pod, incarnation=living)
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._waiting[scope] = holder
                try:
                    yield
                finally:
                    del self._waiting[scope]
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise PodGone(holder.pod, self._proof(holder)) from error

    def _proof(self, holder: Holder) -> str:
        return self._evidence.gone(holder.pod, holder.incarnation)
