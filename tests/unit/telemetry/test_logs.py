"""Log lines: JSON that names the trace, and never a secret, whoever wrote it."""

import json
import logging

import pytest
from opentelemetry.sdk.trace import TracerProvider

from components.telemetry.logs import JsonLines, redact

BOT_TOKEN = "MTAwMDAwMDAwMDAwMDAwMDAwMQ.GabcdE.simulated-token-of-a-bot-that-is-long"
SEED = "SUAGMJH5XLGZKQQWAWKRZJIGMOU4HPFUYLXJMXOO5NLFEO2OOQJ5LPRDPM"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"login with {BOT_TOKEN}", BOT_TOKEN),
        (f"seed is {SEED}.", SEED),
        ("Authorization: Bot abc.def-ghi", "abc.def-ghi"),
        ("Authorization: Bearer operator-secret", "operator-secret"),
        ("POST /api/v10/interactions/123/aW50ZXJhY3Rpb24/callback 404", "aW50ZXJhY3Rpb24"),
        ("PATCH /webhooks/42/dG9rZW4/messages/@original", "dG9rZW4"),
    ],
)
def test_what_looks_like_a_secret_is_replaced(text: str, secret: str) -> None:
    clean = redact(text)
    assert secret not in clean
    assert "[redacted]" in clean


def test_what_is_no_secret_stays_as_it_is() -> None:
    text = "guild 661720242585600000: message.create again in 4.9 s; SUMMARY of /interactions"
    assert redact(text) == text


def test_the_ids_in_a_url_stay_readable() -> None:
    assert redact("/interactions/123/tok/callback") == "/interactions/123/[redacted]/callback"


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("x", logging.WARNING, "f", 1, message, arguments, None)
    made.__dict__.update(extra)
    return made


def test_a_record_is_one_line_of_json_with_its_fields() -> None:
    line = JsonLines("gateway", "gateway-0").format(
        record("guild %s\nparked", "42", fields={"alarm": "guild parked"})
    )
    assert "\n" not in line
    fields = json.loads(line)
    assert fields["message"] == "guild 42\nparked"
    assert fields["level"] == "warning"
    assert fields["alarm"] == "guild parked"
    assert (fields["service"], fields["replica"]) == ("gateway", "gateway-0")
    assert "trace" not in fields


def test_a_record_inside_a_span_names_its_trace() -> None:
    with TracerProvider().get_tracer("t").start_as_current_span("s") as span:
        line = JsonLines("edge", "edge-0").format(record("x"))
    assert json.loads(line)["trace"] == f"{span.get_span_context().trace_id:032x}"


def test_a_secret_in_a_traceback_is_replaced_too() -> None:
    error = ValueError(f"bad token {BOT_TOKEN}")
    line = JsonLines("shard", "shard-0").format(
        record("failed", exc_info=(ValueError, error, None))
    )
    assert BOT_TOKEN not in line
    assert "ValueError" in line
