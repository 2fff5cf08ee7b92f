"""Errors as answers: one table from what went wrong to HTTP, bodies as RFC 9457 problems."""

import logging
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from contracts.errors import ErrorCode, FieldError, ServiceError

log = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 2
"""A handoff is a pause of milliseconds and a restart one of seconds."""

HTTP_STATUS: Final = {
    ErrorCode.MALFORMED: 400,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_FOUND: 404,
    # The owner does not know a verb that this edge uses: they differ in version.
    ErrorCode.UNKNOWN_VERB: 501,
    ErrorCode.TIMEOUT: 504,
    ErrorCode.CONFLICT: 409,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.INVALID: 422,
    ErrorCode.MOVED: 503,  # seen only when asking again did not help inside the deadline
    ErrorCode.PARKED: 423,
    ErrorCode.UNREADABLE: 500,
    ErrorCode.UNAVAILABLE: 503,
}
TITLES: Final = {
    400: "The request is malformed",
    401: "Not authorised",
    403: "Forbidden",
    404: "Not found",
    405: "The method is not allowed here",
    409: "Conflict",
    413: "The body is too large",
    422: "Invalid fields",
    423: "The guild is parked",
    500: "An error in modbot",
    501: "The guild's owner does not know this request",
    502: "The guild's owner answered something malformed",
    503: "Not available at the moment",
    504: "The guild's owner did not get to it in time",
}


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of an error (RFC 9457)."""

    title: str
    status: int
    detail: str
    errors: list[FieldError] = []
    """The invalid fields, one by one."""


def problem(
    status: int,
    detail: str,
    *,
    fields: list[FieldError] | None = None,
    headers: dict[str, str] | None = None,
) -> Response[Problem]:
    """An error as a response."""
    extra = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {}
    body = Problem(
        title=TITLES.get(status, "Error"), status=status, detail=detail, errors=fields or []
    )
    return Response(
        body,
        status_code=status,
        media_type="application/problem+json",
        headers={**extra, **(headers or {})},
    )


def _service_error(_: Request[Any, Any, Any], error: ServiceError) -> Response[Problem]:
    status = HTTP_STATUS.get(error.code, 502)
    return problem(status, error.description, fields=error.fields)


def _http_error(_: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    fields = [
        FieldError(path=str(field.get("key", "")), reason=str(field.get("message", "")))
        for field in (error.extra if isinstance(error.extra, list) else [])
        if isinstance(field, dict)
    ]
    return problem(
        error.status_code,
        error.detail or "Error",
        fields=fields,
        headers=dict(error.headers) if error.headers else None,
    )


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    # The last line of defence: the caller learns nothing of the inside, the log everything.
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(500, "Something went wrong; it is in the log")


EXCEPTION_HANDLERS: Final[ExceptionHandlersMap] = {
    ServiceError: _service_error,
    HTTPException: _http_error,
    Exception: _unexpected,
}
