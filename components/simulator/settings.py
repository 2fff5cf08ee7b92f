"""Settings of the simulator, from the environment (`MODBOT_SIM_*`) or given by a test.

What Discord does not document is a setting here, with a comment on where its default comes from.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

PREFIX = "MODBOT_SIM_"


class SettingsError(ValueError):
    """A variable has a value its setting cannot take. The message names the variable."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    port: int = 0  # 0 takes a free one
    # How clients reach this server, when that differs from host and port (a container, a proxy).
    public_url: str | None = None
    # Begins with the application id in base 64, as Discord's do: hikari reads it from there.
    token: str = "MTAwMDAwMDAwMDAwMDAwMDAwMQ.simulated.token"  # noqa: S105 - opens only this
    application_id: int = 1_000_000_000_000_000_001
    application_name: str = "modbot"
    interactions_endpoint_url: str | None = None
    seed: int = 0
    guilds: int = 0  # created at start
    spec_folder: Path | None = None  # MODBOT_DISCORD_SPEC; None validates nothing

    # Gateway.
    heartbeat_interval_ms: int = 41_250
    # Undocumented: how late a heartbeat may be before the socket is closed, in intervals.
    heartbeat_grace: float = 1.5
    # Undocumented: what a connection is closed with that missed its heartbeats.
    zombie_close_code: int = 4000
    # Undocumented: how many dispatches a session keeps for a RESUME. Above it the oldest go.
    replay_buffer: int = 50_000
    # Undocumented: how long a session without a socket can be resumed (minutes, in practice).
    resume_window_s: float = 180.0
    # Drop what a heartbeat confirmed and refuse a RESUME below it. Discord may do so; tests do.
    strict_resume: bool = False
    # Undocumented: dispatches that may wait for a slow reader before its socket is dropped.
    socket_backlog: int = 100_000
    identify_budget: int = 1000
    max_concurrency: int = 1
    guilds_per_shard: int = 2500
    sends_per_minute: int = 120

    # REST.
    limits: bool = True
    global_per_second: int = 50
    invalid_requests: int = 10_000
    invalid_window_s: float = 600.0
    # Undocumented: how long the ban after too many invalid requests lasts (hours, in practice).
    invalid_ban_s: float = 3600.0
    # Undocumented: how long a nonce is remembered ("past few minutes").
    nonce_window_s: float = 300.0
    # Undocumented: deletions by one user in one channel become one audit entry within this time.
    audit_merge_s: float = 300.0
    # Undocumented but observed: a bot that deletes one message leaves no audit entry.
    audit_bot_deletes: bool = False

    # Interactions. docs: interactions/receiving-and-responding#interaction-callback
    ack_s: float = 3.0
    token_s: float = 900.0
    # Undocumented: how often Discord probes an endpoint with good and bad signatures. 0 is never;
    # the control API can ask for a probe at any time.
    probe_interval_s: float = 0.0

    # Bounds of this process's memory; the oldest go first.
    record_limit: int = 2_000_000
    messages_per_channel: int = 50_000


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from `MODBOT_SIM_<NAME>` and `MODBOT_DISCORD_SPEC`. Raises SettingsError."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(Settings):
        name = PREFIX + field.name.upper()
        if name in environment:
            try:
                values[field.name] = msgspec.convert(
                    environment[name], field.type, strict=False, dec_hook=_path
                )
            except msgspec.ValidationError as error:
                raise SettingsError(f"{name}: {error}") from error
    known = {PREFIX + name.upper() for name in Settings.__struct_fields__}
    for name in environment:
        if name.startswith(PREFIX) and name not in known:
            raise SettingsError(f"{name}: no such setting")
    spec = environment.get("MODBOT_DISCORD_SPEC")
    if spec and "spec_folder" not in values:
        values["spec_folder"] = Path(spec)
    return Settings(**values)


def _path(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise NotImplementedError(kind)
