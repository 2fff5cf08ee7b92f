"""What Discord says no with: HTTP status, numeric code, words, and for 50035 a tree of fields.

docs: topics/opcodes-and-status-codes#json, reference#error-messages
"""

from typing import Any


class DiscordError(Exception):
    """A request Discord refuses. The REST layer answers with it; the control API passes it on."""

    def __init__(
        self, status: int, code: int, message: str, errors: dict[str, Any] | None = None
    ) -> None:
        super().__init__(f"{status} {code} {message}")
        self.status = status
        self.code = code
        self.message = message
        self.errors = errors

    def body(self) -> dict[str, Any]:
        """The JSON body as Discord sends it."""
        body: dict[str, Any] = {"message": self.message, "code": self.code}
        if self.errors:
            body["errors"] = self.errors
        return body


_UNKNOWN = {
    "account": 10001,
    "application": 10002,
    "channel": 10003,
    "guild": 10004,
    "member": 10007,
    "message": 10008,
    "role": 10011,
    "user": 10013,
    "emoji": 10014,
    "webhook": 10015,
    "ban": 10026,
    "interaction": 10062,
    "application command": 10063,
}


def unknown(what: str) -> DiscordError:
    """404 with the code of the kind of thing that does not exist."""
    return DiscordError(404, _UNKNOWN[what], f"Unknown {what.title()}")


def unauthorized() -> DiscordError:
    """401: the token is missing or wrong."""
    return DiscordError(401, 0, "401: Unauthorized")


def missing_access() -> DiscordError:
    """403 50001: the caller cannot see the thing."""
    return DiscordError(403, 50001, "Missing Access")


def missing_permissions() -> DiscordError:
    """403 50013: the caller sees the thing and may not do this to it."""
    return DiscordError(403, 50013, "Missing Permissions")


def bad_request(code: int, message: str) -> DiscordError:
    """400 with a code of its own."""
    return DiscordError(400, code, message)


def invalid_form(fields: dict[str, tuple[str, str]]) -> DiscordError:
    """400 50035. `fields` maps a dotted path (`embeds.0.title`) to (code, message)."""
    tree: dict[str, Any] = {}
    for path, (code, message) in fields.items():
        node = tree
        for part in path.split(".") if path else []:
            node = node.setdefault(part, {})
        node.setdefault("_errors", []).append({"code": code, "message": message})
    return DiscordError(400, 50035, "Invalid Form Body", tree)


def required(path: str) -> DiscordError:
    """50035 for one field that is missing."""
    return invalid_form({path: ("BASE_TYPE_REQUIRED", "This field is required")})
