"""Traces: a traceparent travels, a broken one is an empty context, spans are written as lines."""

import io
import json

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from components.telemetry.traces import SpanLines, carry, context_of, traceparent

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_there_is_no_traceparent_outside_of_a_span() -> None:
    assert traceparent() == ""
    assert carry({"a": "b"}) == {"a": "b"}


def test_a_traceparent_names_the_parent_and_a_broken_one_nothing() -> None:
    context = trace.get_current_span(context_of(PARENT)).get_span_context()
    assert f"{context.trace_id:032x}" == PARENT.split("-")[1]
    for broken in ("", "nonsense", "00-zz-zz-01"):
        assert not trace.get_current_span(context_of(broken)).get_span_context().is_valid


def test_a_span_is_written_with_its_parent_and_carried_in_headers() -> None:
    file = io.StringIO()
    written = file.getvalue
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(SpanLines(file)))
    tracer = provider.get_tracer("t")
    with tracer.start_as_current_span("inner", context=context_of(PARENT)) as span:
        inside = carry({"Nats-Msg-Id": "x"})
    line = json.loads(written())
    assert line["name"] == "inner"
    assert line["parent"] == PARENT.split("-")[2]
    assert line["trace"] == PARENT.split("-")[1]
    assert inside["Nats-Msg-Id"] == "x"
    assert inside["traceparent"].split("-")[2] == f"{span.get_span_context().span_id:016x}"
