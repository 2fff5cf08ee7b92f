"""Traces: W3C trace context through every bus header, spans to a file when one is named.

`configure_traces` is called once a process. Without a span file spans are mere names, so that
``traceparent`` travels: one that nobody writes need not know when it began, and costs a fifth.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from contracts import headers

_propagator = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("modbot")
"""Made once, which costs a third of a span; it finds the provider that is configured later."""
_ids = RandomIdGenerator()
_unwritten: TraceIdRatioBased | None = None
"""Set where spans are not written: decides which new traces those may write who do."""


class SpanLines(SpanExporter):
    """Writes each ended span as one JSON line."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append the spans to the file."""
        for span in spans:
            context = span.get_span_context()
            if context is None:
                continue
            line = {
                "trace": f"{context.trace_id:032x}",
                "span": f"{context.span_id:016x}",
                "parent": f"{span.parent.span_id:016x}" if span.parent else None,
                "name": span.name,
                "service": span.resource.attributes.get("service.name"),
                "replica": span.resource.attributes.get("service.instance.id"),
                "start_ns": span.start_time,
                "end_ns": span.end_time,
                "attributes": dict(span.attributes or {}),
            }
            self._file.write(json.dumps(line, default=str) + "\n")
        self._file.flush()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        self._file.close()


def configure_traces(
    service: str, replica: str, *, folder: Path | None = None, ratio: float = 1.0
) -> None:
    """Set up the process's tracer; ``folder`` receives ``<service>-<replica>.jsonl``.

    ``ratio`` is the share of new traces that are recorded; a trace that came in keeps its own
    decision.
    """
    global _unwritten
    if folder is None:
        _unwritten = TraceIdRatioBased(ratio)
        return
    provider = TracerProvider(
        resource=Resource.create({"service.name": service, "service.instance.id": replica}),
        sampler=ParentBased(TraceIdRatioBased(ratio)),
    )
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / f"{service}-{replica}.jsonl").open("a", encoding="utf-8")
    provider.add_span_processor(BatchSpanProcessor(SpanLines(file), schedule_delay_millis=500))
    trace.set_tracer_provider(provider)


def traceparent() -> str:
    """The current span as a ``traceparent``; empty outside of any span."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get(headers.TRACEPARENT, "")


def context_of(traceparent_value: str) -> Context:
    """The context that a ``traceparent`` names; an empty one for an empty or broken value."""
    if not traceparent_value:
        return Context()
    return _propagator.extract({headers.TRACEPARENT: traceparent_value}, context=Context())


def carry(existing: Mapping[str, str] | None = None) -> dict[str, str]:
    """Headers with the current span's ``traceparent`` added."""
    carrier = dict(existing or {})
    _propagator.inject(carrier)
    return carrier


@contextmanager
def span(
    name: str,
    *,
    parent: str | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    **attributes: str | int,
) -> Iterator[Span]:
    """A span that is current inside the block. ``parent`` is a ``traceparent``; without one the
    current span is the parent."""
    context = context_of(parent) if parent is not None else None
    if _unwritten is not None:
        current = NonRecordingSpan(_below(context, _unwritten))
        token = attach(set_span_in_context(current))
        try:
            yield current
        finally:
            detach(token)
        return
    with _tracer.start_as_current_span(
        name, context=context, kind=kind, attributes=attributes
    ) as recorded:
        yield recorded


def _below(context: Context | None, roots: TraceIdRatioBased) -> SpanContext:
    """The name of a new span below the one of the context, or of a trace of its own."""
    above = trace.get_current_span(context).get_span_context()
    if above.is_valid:
        trace_id, flags = above.trace_id, above.trace_flags
    else:
        trace_id = _ids.generate_trace_id()
        sampled = roots.should_sample(None, trace_id, "").decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return SpanContext(trace_id, _ids.generate_span_id(), is_remote=False, trace_flags=flags)
