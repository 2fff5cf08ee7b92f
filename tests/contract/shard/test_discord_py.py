"""What the shard relies on inside discord.py (pinned exactly; private names may change).

The socket's behaviour is tested against the simulator; this names what moved when it breaks.
"""

import inspect

import aiohttp
import discord
from discord import utils
from discord.gateway import DiscordWebSocket, KeepAliveHandler
from discord.http import HTTPClient, Route

from components.shard.websocket import INTENTS, Socket


def test_the_version_is_the_one_whose_private_names_are_used() -> None:
    assert discord.__version__ == "2.7.1"


def test_addresses_are_class_attributes() -> None:
    assert isinstance(Route.BASE, str)
    assert hasattr(DiscordWebSocket, "DEFAULT_GATEWAY")


def test_from_client_reads_only_what_the_duck_typed_client_has() -> None:
    source = inspect.getsource(DiscordWebSocket.from_client)
    for name in (
        "client.http.ws_connect",
        "client.http.token",
        "client._connection.parsers",
        "client._connection.call_hooks",
        "client._connection.shard_count",
        "client._connection.heartbeat_timeout",
        "client._connection._update_references(ws)",
        "client._enable_debug_events",
        "client.loop",
        "client.dispatch",
    ):
        assert name in source
    assert set(inspect.signature(DiscordWebSocket.from_client).parameters) >= {
        "client",
        "gateway",
        "shard_id",
        "session",
        "resume",
    }


def test_heartbeat_and_resume_name_the_sequence_that_the_socket_overrides() -> None:
    assert "self.ws.sequence" in inspect.getsource(KeepAliveHandler.get_payload)
    assert "self.sequence" in inspect.getsource(DiscordWebSocket.resume)
    assert isinstance(inspect.getattr_static(Socket, "sequence"), property)


def test_a_message_passes_through_the_attributes_that_the_socket_uses() -> None:
    source = inspect.getsource(DiscordWebSocket)
    for name in ("self._decompressor", "self._keep_alive", "self._close_code", "self.session_id"):
        assert f"{name}: " in source
    assert "_initial_identify" in source
    assert hasattr(utils._ActiveDecompressionContext, "decompress")


def test_aiohttp_does_not_wait_for_the_answer_to_a_close_frame_after_a_cancel() -> None:
    source = inspect.getsource(aiohttp.ClientWebSocketResponse)
    assert "self._close_code = WSCloseCode.ABNORMAL_CLOSURE" in source
    assert "if self._close_code:" in inspect.getsource(aiohttp.ClientWebSocketResponse.close)


def test_identify_reads_the_intents_of_the_state() -> None:
    assert "state._intents.value" in inspect.getsource(DiscordWebSocket.identify)
    assert INTENTS.message_content
    assert INTENTS.members
    assert not INTENTS.presences
    assert not INTENTS.typing


def test_the_http_client_has_the_calls_that_the_shard_makes() -> None:
    for name in (
        "static_login",
        "application_info",
        "get_bot_gateway",
        "get_global_commands",
        "bulk_upsert_global_commands",
        "close",
    ):
        assert inspect.iscoroutinefunction(getattr(HTTPClient, name)) or callable(
            getattr(HTTPClient, name)
        )
