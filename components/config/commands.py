"""What operators tell config to do: written to PostgreSQL first, then to bucket ``intent``, where
the leader sees it (`operations`). Any replica takes it, and while PostgreSQL is away none does. A
bucket that was not written is repaired by the leader, which compares both (`mirror`).

Raises `ServiceError`, whose words say what to do."""

import logging
from uuid import uuid4

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.config.answers import Answers, guild_of
from components.config.database import Database, DatabaseAway
from components.config.intents import BALANCE, REBALANCE
from components.config.resharding import Resharding
from components.config.view import View
from components.process.clock import wall_ms
from contracts import storage
from contracts.errors import ErrorCode, ServiceError
from contracts.message import Message, encode
from contracts.operations import (
    DrainPod,
    MoveGuilds,
    OperationStarted,
    PauseBalance,
    PinGuild,
    Rebalance,
    Reshard,
    UnpinGuild,
)
from contracts.records import BalanceIntent, GuildIntent, MoveIntent, PodIntent, RebalanceIntent

log = logging.getLogger(__name__)

MOST_MOVES = 1_000
SOMEBODY = "operator"


class Commands:
    """Takes intents."""

    def __init__(
        self,
        bus: Bus,
        view: View,
        answers: Answers,
        database: Database,
        resharding: Resharding,
    ) -> None:
        self._resharding = resharding
        self._view = view
        self._answers = answers
        self._database = database
        self._bucket = Bucket(bus, storage.INTENT)

    async def rebalance(self, request: Rebalance) -> OperationStarted:
        """Spread guilds evenly once, also while paused."""
        operation, by = await self._asked("rebalance", request, request.by)
        intent = RebalanceIntent(operation=operation, by=by, since_ms=wall_ms())
        await self._put(REBALANCE, intent)
        return OperationStarted(operation=operation, what="spread guilds evenly")

    async def drain(self, request: DrainPod) -> OperationStarted:
        """Empty a pod and keep it empty."""
        self._answers.require_pod(request.pod)
        operation, by = await self._asked("drain", request, request.by)
        intent = PodIntent(
            pod=request.pod, draining=True, by=by, since_ms=wall_ms(), operation=operation
        )
        await self._intend(f"pod.{request.pod}", intent, by)
        return OperationStarted(operation=operation, what=f"drain {request.pod}")

    async def undrain(self, request: DrainPod) -> OperationStarted:
        """Let a pod take guilds again."""
        if request.pod not in self._view.intents.draining:  # else it may be gone for long
            self._answers.require_pod(request.pod)
        _, by = await self._asked("undrain", request, request.by)
        await self._intend(f"pod.{request.pod}", None, by)
        return OperationStarted(operation="", what=f"{request.pod} takes guilds again")

    async def move(self, request: MoveGuilds) -> OperationStarted:
        """Let a pod own guilds, once."""
        if not 0 < len(request.guilds) <= MOST_MOVES:
            raise ServiceError(ErrorCode.INVALID, f"move takes 1 to {MOST_MOVES} guilds at a time")
        self._require_serving(request.pod)
        for guild in request.guilds:
            self._answers.require_guild(guild)
            pin = self._view.intents.pinned.get(guild)
            if pin is not None and pin != request.pod:
                raise ServiceError(
                    ErrorCode.CONFLICT,
                    f"guild {guild} is pinned to {pin}: unpin it, or pin it to {request.pod}",
                )
        operation, by = await self._asked("move", request, request.by)
        for guild in dict.fromkeys(request.guilds):
            intent = MoveIntent(
                guild=guild, pod=request.pod, operation=operation, by=by, since_ms=wall_ms()
            )
            await self._put(f"move.{guild}", intent)
        return OperationStarted(operation=operation, what=f"move guilds to {request.pod}")

    async def pin(self, request: PinGuild) -> OperationStarted:
        """Keep a guild on a pod."""
        guild = guild_of(request.guild)
        self._answers.require_pod(request.pod)
        operation, by = await self._asked("pin", request, request.by)
        intent = GuildIntent(
            guild=guild, pod=request.pod, by=by, since_ms=wall_ms(), operation=operation
        )
        await self._intend(f"guild.{guild}", intent, by)
        return OperationStarted(operation=operation, what=f"pin guild {guild} to {request.pod}")

    async def unpin(self, request: UnpinGuild) -> OperationStarted:
        """Let a guild be moved again."""
        guild = guild_of(request.guild)
        if guild not in self._view.intents.pinned:  # else it may be nobody's
            self._answers.require_guild(guild)
        _, by = await self._asked("unpin", request, request.by)
        await self._intend(f"guild.{guild}", None, by)
        return OperationStarted(operation="", what=f"guild {guild} may be moved again")

    async def reshard(self, request: Reshard) -> OperationStarted:
        """Change the number of Discord's shards, or take that back."""
        self._answers.require_view()  # how many guilds a shard would have
        operation, by = await self._asked("reshard", request, request.by)
        try:
            if request.abort:
                return OperationStarted(operation="", what=await self._resharding.abort(by))
            what = await self._resharding.begin(request.count, operation, by)
        except BusError as error:
            raise ServiceError(
                ErrorCode.UNAVAILABLE, f"NATS did not answer, ask again: {error}"
            ) from error
        return OperationStarted(operation=operation, what=what)

    async def pause(self, request: PauseBalance) -> OperationStarted:
        """Move nothing by itself."""
        return await self._balance(request, paused=True)

    async def resume(self, request: PauseBalance) -> OperationStarted:
        """Spread guilds by itself again."""
        return await self._balance(request, paused=False)

    async def _balance(self, request: PauseBalance, *, paused: bool) -> OperationStarted:
        _, by = await self._asked("pause" if paused else "resume", request, request.by)
        intent = BalanceIntent(paused=paused, by=by, reason=request.reason, since_ms=wall_ms())
        await self._intend(BALANCE, intent, by)
        what = "config moves nothing by itself" if paused else "config spreads guilds by itself"
        return OperationStarted(operation="", what=what)

    def _require_serving(self, pod: str) -> None:
        known = self._answers.require_pod(pod)  # type: ignore[arg-type]  # as it was asked for
        lease = known.here
        if lease is None or lease.state != "serving":
            raise ServiceError(
                ErrorCode.CONFLICT, f"{pod} does not serve at the moment: `modbot ops pods`"
            )
        if pod in self._view.intents.draining:
            raise ServiceError(
                ErrorCode.CONFLICT, f"{pod} is to be empty: `modbot ops undrain {pod}` first"
            )

    async def _asked(self, verb: str, request: Message, by: str) -> tuple[str, str]:
        """Write down who asked for what; returns the operation's id and who asked."""
        operation, by = uuid4().hex, by or SOMEBODY
        try:
            await self._database.asked(operation, verb, encode(request).decode(), by)
        except DatabaseAway as error:
            raise _refused(error) from error
        return operation, by

    async def _intend(self, key: str, intent: Message | None, by: str) -> None:
        value = encode(intent) if intent is not None else None
        try:
            await self._database.intend(key, value.decode() if value is not None else None, by)
        except DatabaseAway as error:
            raise _refused(error) from error
        try:
            if value is not None:
                await self._bucket.put(key, value)
            else:
                await self._bucket.delete(key)
        except BusError as error:  # it is wanted all the same: the leader mirrors it
            log.warning("intent %s is not on the bus yet: %s", key, error)

    async def _put(self, key: str, intent: Message) -> None:
        try:
            await self._bucket.put(key, encode(intent))
        except BusError as error:
            raise ServiceError(
                ErrorCode.UNAVAILABLE, f"NATS did not take it, ask again: {error}"
            ) from error


def _refused(error: DatabaseAway) -> ServiceError:
    return ServiceError(
        ErrorCode.UNAVAILABLE,
        "PostgreSQL is away, and what operators want is kept there: nothing was changed. Guilds "
        f"are served and crashes are answered meanwhile; ask again when it is back ({error})",
    )
