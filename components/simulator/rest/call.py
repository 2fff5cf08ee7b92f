"""What a route handler is given, what it answers, and how a route is declared."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from components.simulator import errors
from components.simulator.clock import Snowflake
from components.simulator.world.entities import Application
from components.simulator.world.store import World

if TYPE_CHECKING:
    from components.simulator.gateway.server import Gateway
    from components.simulator.interactions.service import Interactions

REASON_MAX = 512


class Reply(msgspec.Struct, frozen=True):
    status: int = 204
    body: Any = None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `bot` is None on the routes that take an interaction's token instead."""

    world: World
    gateway: "Gateway"
    interactions: "Interactions"
    application: Application | None
    path: dict[str, str]
    query: dict[str, str]
    body: Any
    reason: str | None
    base_url: str

    @property
    def app(self) -> Application:
        assert self.application is not None
        return self.application

    @property
    def me(self) -> Snowflake:
        return self.app.bot.id

    def id(self, name: str) -> Snowflake:
        """A path parameter as an id; not a number is 50035."""
        return snowflake(self.path[name], name)

    def fields(self) -> dict[str, Any]:
        """The body as an object; none is an empty one."""
        if self.body is None:
            return {}
        if not isinstance(self.body, dict):
            raise errors.invalid_form(
                {"": ("DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")}
            )
        return self.body

    def list_limit(self, default: int, most: int) -> int:
        """The `limit` of a list, 1 to `most`."""
        text = self.query.get("limit", str(default))
        if not text.isdigit() or not 1 <= int(text) <= most:
            raise errors.invalid_form(
                {"limit": ("NUMBER_TYPE_MAX", f"int value should be between 1 and {most}.")}
            )
        return int(text)


Handler = Callable[[Call], Reply]


class Route(msgspec.Struct, frozen=True):
    """A route, its documentation page and its rate-limit bucket. Positional: it reads as a table.

    The bucket is shared by routes of the same name and split by the major parameter's value.
    """

    method: str
    path: str
    handler: Handler
    docs: str
    bucket: str
    major: str | None = None
    authorized: bool = True


def snowflake(value: Any, field: str) -> Snowflake:
    """An id as Discord takes it: a number or its digits, else 50035 at `field`."""
    try:
        return Snowflake(int(value))
    except (TypeError, ValueError) as error:
        raise errors.invalid_form(
            {field: ("NUMBER_TYPE_COERCE", f'Value "{value}" is not snowflake.')}
        ) from error
