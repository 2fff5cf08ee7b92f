"""Traces: a traceparent travels, a broken one is an empty context, spans are written as lines."""

import io
import json
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from components.telemetry import traces
from components.telemetry.traces import (
    SpanLines,
    carry,
    configure_traces,
    context_of,
    span,
    traceparent,
)

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


@pytest.fixture
def unwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process writes no spans, as one without a folder for them."""
    monkeypatch.setattr(traces, "_unwritten", None)
    configure_traces("gateway", "gateway-0")


@pytest.mark.usefixtures("unwritten")
def test_a_span_that_is_not_written_continues_the_trace_it_came_with() -> None:
    with span("outer", parent=PARENT):
        outer = traceparent().split("-")
        with span("inner", guild="1") as inner:
            inner.set_attribute("applied", 1)
            inside = traceparent().split("-")
        assert traceparent().split("-") == outer
    assert traceparent() == ""
    assert outer[1] == inside[1] == PARENT.split("-")[1]
    assert len({PARENT.split("-")[2], outer[2], inside[2]}) == 3
    assert outer[3] == inside[3] == "01"


@pytest.mark.usefixtures("unwritten")
def test_what_was_not_to_be_written_stays_so() -> None:
    with span("below", parent=PARENT.removesuffix("01") + "00"):
        assert traceparent().endswith("-00")


@pytest.mark.usefixtures("unwritten")
def test_a_span_without_a_parent_begins_a_trace_and_an_error_ends_it() -> None:
    seen: list[str] = []

    def fail() -> None:
        with span("fails"):
            seen.append(traceparent())
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert traceparent() == ""
    with span("next"):
        assert traceparent().split("-")[1] != seen[0].split("-")[1]


@pytest.mark.parametrize(("ratio", "sampled"), [(1.0, "01"), (0.0, "00")])
def test_the_ratio_decides_for_those_who_write(
    monkeypatch: pytest.MonkeyPatch, ratio: float, sampled: str
) -> None:
    monkeypatch.setattr(traces, "_unwritten", None)
    configure_traces("edge", "edge-0", ratio=ratio)
    with span("root"):
        assert traceparent().split("-")[3] == sampled


def test_with_a_folder_spans_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    providers: list[TracerProvider] = []
    monkeypatch.setattr(traces, "_unwritten", None)
    monkeypatch.setattr(trace, "set_tracer_provider", providers.append)
    configure_traces("edge", "edge-0", folder=tmp_path)
    (provider,) = providers
    with provider.get_tracer("t").start_as_current_span("told"):
        pass
    provider.shutdown()
    (line,) = (tmp_path / "edge-edge-0.jsonl").read_text().splitlines()
    assert json.loads(line)["service"] == "edge"
