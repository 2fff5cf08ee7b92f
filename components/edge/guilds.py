"""``GET /api/guilds/{guild}/…``: small JSON reads of a guild, answered by its owner.

A response's ETag is ``"<epoch>-<applied>"``; a client that sends it (or the bare sequence) back
as ``Modbot-Min-Applied`` never reads anything older, through any edge and any change of owner.
"""

from typing import Annotated, Final, TypeVar

from litestar import Response, Router, get
from litestar.params import HeaderParameter, PathParameter, QueryParameter
from litestar.types import Guard as RouteGuard

from components.edge.owners import OwnerReply, Owners
from contracts import headers
from contracts.errors import ErrorCode, ServiceError
from contracts.ids import CaseNumber, GuildId, Sequence, UserId, is_snowflake
from contracts.requests import CaseList, CaseView, GetCase, GetSettings, ListCases, SettingsView

MAX_PAGE: Final = 200
MAX_NUMBER: Final = 2**53 - 1
"""Exact in every JSON reader."""

T = TypeVar("T")

_SNOWFLAKE: Final = "A Discord id: a decimal number as text"
Guild = Annotated[str, PathParameter(description=_SNOWFLAKE)]
MinApplied = Annotated[
    str | None,
    HeaderParameter(
        name=headers.MIN_APPLIED,
        description="A sequence, or the ETag of an earlier response: read at least that state",
    ),
]
Number = Annotated[int, PathParameter(ge=1, le=MAX_NUMBER)]
User = Annotated[str | None, QueryParameter(description=_SNOWFLAKE)]
Before = Annotated[int | None, QueryParameter(ge=1, le=MAX_NUMBER)]
Limit = Annotated[int, QueryParameter(ge=1, le=MAX_PAGE)]


def guild_routes(owners: Owners, guard: RouteGuard) -> Router:
    """The routes that read."""

    @get("/{guild:str}/cases", summary="Cases, newest first")
    async def cases(
        guild: Guild,
        min_applied: MinApplied = None,
        user: User = None,
        before: Before = None,
        limit: Limit = 50,
    ) -> Response[CaseList]:
        if user is not None and not is_snowflake(user):
            raise ServiceError(ErrorCode.MALFORMED, f"user: not a Discord id: {user[:40]!r}")
        request = ListCases(
            user=UserId(user) if user is not None else None,
            before=CaseNumber(before) if before is not None else None,
            limit=limit,
        )
        reply = await owners.ask(
            guild_id(guild), request, CaseList, min_applied=sequence_of(min_applied)
        )
        return _response(reply)

    @get("/{guild:str}/cases/{number:int}", summary="One case")
    async def case(
        guild: Guild, number: Number, min_applied: MinApplied = None
    ) -> Response[CaseView]:
        request = GetCase(number=CaseNumber(number))
        reply = await owners.ask(
            guild_id(guild), request, CaseView, min_applied=sequence_of(min_applied)
        )
        return _response(reply)

    @get("/{guild:str}/settings", summary="The settings in force")
    async def settings(guild: Guild, min_applied: MinApplied = None) -> Response[SettingsView]:
        reply = await owners.ask(
            guild_id(guild), GetSettings(), SettingsView, min_applied=sequence_of(min_applied)
        )
        return _response(reply)

    return Router("/api/guilds", route_handlers=[cases, case, settings], guards=[guard])


def guild_id(text: str) -> GuildId:
    """The guild of a path; 404 in words when it cannot be one."""
    if not is_snowflake(text):
        raise ServiceError(ErrorCode.NOT_FOUND, f"not a Discord guild id: {text[:40]!r}")
    return GuildId(text)


def sequence_of(text: str | None) -> Sequence | None:
    """The sequence of a bare number or of an ETag; 400 for anything else."""
    if text is None:
        return None
    number = text.strip().removeprefix("W/").strip('"').rpartition("-")[2]
    if not number.isascii() or not number.isdigit() or len(number) > 18:
        raise ServiceError(
            ErrorCode.MALFORMED, f"{headers.MIN_APPLIED}: give a sequence or an ETag of this API"
        )
    return Sequence(int(number))


def _response(reply: OwnerReply[T]) -> Response[T]:
    return Response(reply.value, headers={"ETag": reply.etag})
