"""The first response to interactions that arrive over the gateway (design.md, First responders).

Discord gets one within its 3 s: the owner's answer if it comes within `OWNER_WAIT_S` of receipt,
otherwise the deferral that contracts lists; what no guild's log can take is answered in words.
While a new session runs beside an old one (`Overlap`), the old one answers; the new one only what
the old one has not put on the log, or what is not on it `KEPT_BACK_S` after receipt. "Already
acknowledged" (40060) counts as answered. When Discord cannot be reached in time the
interaction is lost to its user, is logged, and stays on the guild's log; an owner that answered
hears that its answer was not taken.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

import aiohttp
import discord.http
import msgspec

from components.process.clock import steady_s
from components.responder.responder import Responder
from contracts import subjects
from contracts.ids import GuildId, InteractionId
from contracts.interactions import (
    CHANNEL_MESSAGE,
    EPHEMERAL,
    OWNER_WAIT_S,
    InteractionHead,
    deferral_of,
    read_interaction,
)
from contracts.message import MalformedMessage

log = logging.getLogger(__name__)

ANSWER_WITHIN_S: Final = 2.8
"""Discord waits 3 s (docs: interactions/receiving-and-responding#interaction-callback)."""
KEPT_BACK_S: Final = 2.0
"""Whoever received it too has answered by then, or deferred, if it is there: `OWNER_WAIT_S` and a
request's time."""
RETRY_S: Final = 0.15
ALREADY_ACKNOWLEDGED: Final = 40060
ANSWERABLE: Final = frozenset({2, 3, 5})
"""Commands, components and modals. An autocomplete cannot be deferred."""
OUTSIDE = "This works only inside a server that I moderate."


class _Token(msgspec.Struct):
    token: str


class FirstResponder:
    """Answers interactions in tasks of their own, all inside one group."""

    def __init__(
        self, responder: Responder, session: aiohttp.ClientSession, tasks: asyncio.TaskGroup
    ) -> None:
        self._responder = responder
        self._session = session
        self._tasks = tasks

    def answer_to(self, interaction: InteractionId) -> str:
        """The subject on which the owner's answer is awaited."""
        return subjects.answer("shard", self._responder.replica, interaction)

    def received(self, data: bytes, guild: GuildId | None, received_s: float) -> None:
        """Answer the interaction, which has just been queued for its guild's log."""
        try:
            head = read_interaction(data)
            token = msgspec.json.decode(data, type=_Token).token
        except (MalformedMessage, msgspec.MsgspecError) as error:
            log.warning("skipped a malformed interaction: %s", error)
            return
        if head.type in ANSWERABLE:
            self._tasks.create_task(self._respond(head, token, guild, received_s))

    def kept_back(
        self, data: bytes, guild: GuildId | None, received_s: float
    ) -> Callable[[bool], None]:
        """Answer the interaction if nobody else does. The result is to be called when it is
        stored, with whether the log had it already."""
        known_before: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def answer() -> None:
            try:
                async with asyncio.timeout(received_s + KEPT_BACK_S - steady_s()):
                    if await known_before:
                        return
            except TimeoutError:
                pass  # it is late: answer whatever happens to the log
            self.received(data, guild, received_s)

        def stored(duplicate: bool) -> None:
            if not known_before.done():
                known_before.set_result(duplicate)

        self._tasks.create_task(answer())
        return stored

    async def _respond(
        self, head: InteractionHead, token: str, guild: GuildId | None, received_s: float
    ) -> None:
        if guild is None:
            words = {"content": OUTSIDE, "flags": EPHEMERAL}
            await self._give(head, token, {"type": CHANNEL_MESSAGE, "data": words}, received_s)
            return
        async with self._responder.expect(head.id, guild) as pending:
            answer = await pending.wait(received_s + OWNER_WAIT_S - steady_s())
            if answer is not None:
                body: dict[str, Any] = {"type": answer.type, "data": answer.data}
            else:
                body = deferral_of(head.type, head.name).as_discord()
            if not await self._give(head, token, body, received_s):
                pending.withdraw()

    async def _give(
        self, head: InteractionHead, token: str, body: dict[str, Any], received_s: float
    ) -> bool:
        """Give Discord a first response; False when it surely has none, or nobody knows."""
        url = f"{discord.http.Route.BASE}/interactions/{head.id}/{token}/callback"
        payload = msgspec.json.encode(body)
        problem = "no time left"
        while (left := received_s + ANSWER_WITHIN_S - steady_s()) > 0:
            try:
                async with asyncio.timeout(left):
                    async with self._session.post(
                        url, data=payload, headers={"Content-Type": "application/json"}
                    ) as response:
                        if response.status < 300:
                            return True
                        problem = f"HTTP {response.status}: {await response.text()}"
                        if response.status != 429 and response.status < 500:
                            break
                    await asyncio.sleep(RETRY_S)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                problem = str(error) or type(error).__name__
                if left > RETRY_S:
                    await asyncio.sleep(RETRY_S)
        if (
            f'"code": {ALREADY_ACKNOWLEDGED}' in problem
            or f'"code":{ALREADY_ACKNOWLEDGED}' in problem
        ):
            return True
        log.warning("interaction %s has no first response: %s", head.id, problem)
        return False
