"""The figures of the event measurement: computed from the record, held to their limits."""

import pytest

from components.bench.event import compare, latencies
from components.bench.result import Figure, percentile
from components.simulator.record import Entry


def entry(kind: str, at_ms: float, **data: object) -> Entry:
    return Entry(n=1, at_ms=at_ms, kind=kind, data=dict(data))


def test_a_percentile_is_the_nearest_rank_and_of_nothing_is_an_error() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 0.5) == 51
    assert percentile(values, 0.99) == 100
    assert percentile([7.0], 0.99) == 7
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_latency_runs_from_the_first_dispatch_to_the_first_delete() -> None:
    record = [
        entry("dispatch", 100.0, event="MESSAGE_CREATE", subject_id="7"),
        entry("dispatch", 105.0, event="MESSAGE_CREATE", subject_id="7"),
        entry("dispatch", 100.0, event="MESSAGE_CREATE", subject_id="8"),
        entry("rest", 109.5, method="DELETE", path="/api/v10/channels/1/messages/7"),
        entry("rest", 120.0, method="DELETE", path="/api/v10/channels/1/messages/7"),
        entry("rest", 101.0, method="DELETE", path="/api/v10/channels/1/messages/9"),
    ]
    assert latencies(record) == {"7": 9.5}


def test_figures_over_their_limit_are_not_ok() -> None:
    fast, slow = [3.0] * 100, [40.0] * 100
    assert all(figure.ok for figure in compare(fast, fast))
    figures = {figure.name: figure for figure in compare(slow, fast)}
    assert not figures["latency_p50_ms"].ok
    assert figures["latency_p50_ms"].baseline is not None
    assert figures["latency_p50_ms"].baseline.value == 3.0
    assert figures["over_baseline_p50_ms"].value == 37.0
    assert not figures["over_baseline_p99_ms"].ok


def test_a_figure_without_a_limit_is_only_told() -> None:
    assert Figure(name="x", value=1e9, unit="ms").ok
