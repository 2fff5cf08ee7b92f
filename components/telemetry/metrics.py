"""Metrics: what a process knows of itself, served for Prometheus to scrape.

`configure_metrics` is called once a process. Figures are read when somebody scrapes, on the event
loop, so whoever gives one needs no lock and must be quick; one that cannot be read is left out of
that answer, with a line in the log. Without `configure_metrics` nothing is measured.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

PATH: Final = "/metrics"
STOP_WITHIN_S: Final = 1.0

Read = Callable[[], float | Mapping[str, float]]
"""A figure, or figures by the value of one label."""


class Metrics:
    """The figures of a process, and its memory, CPU and files."""

    def __init__(self, service: str, replica: str) -> None:
        # Loaded only where metrics are wanted: together they take 3 MiB.
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.resources import Resource
        from prometheus_client import CollectorRegistry, ProcessCollector

        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        reader = PrometheusMetricReader(scope_info_enabled=False, registry=self._registry)
        resource = Resource.create({"service.name": service, "service.instance.id": replica})
        self.provider = MeterProvider([reader], resource)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Every figure now, in a format that is accepted, and the name of the format."""
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


_meter: Meter | None = None
"""Of the process, once it is configured."""


def configure_metrics(service: str, replica: str) -> Metrics:
    """Measure whatever is given to `gauge` and `counter` from now on."""
    global _meter
    measured = Metrics(service, replica)
    _meter = measured.provider.get_meter("modbot")
    return measured


@asynccontextmanager
async def served(measured: Metrics, host: str, port: int) -> AsyncIterator[int]:
    """``GET /metrics`` until the end of the block; yields the port. Raises `OSError` when the
    address cannot be had."""
    from aiohttp import web

    async def scrape(request: web.Request) -> web.Response:
        body, content_type = measured.text(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_get(PATH, scrape)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_WITHIN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def gauge(
    name: str,
    read: Read,
    description: str,
    *,
    unit: str = "",
    by: str = "",
    meter: Meter | None = None,
) -> None:
    """A figure that goes up and down. ``by``: the label of a figure of many."""
    if (found := meter or _meter) is not None:
        found.create_observable_gauge(name, [_callback(read, by)], unit, description)


def counter(
    name: str,
    read: Read,
    description: str,
    *,
    unit: str = "",
    by: str = "",
    meter: Meter | None = None,
) -> None:
    """A figure that only grows while the process lives."""
    if (found := meter or _meter) is not None:
        found.create_observable_counter(name, [_callback(read, by)], unit, description)


def _callback(read: Read, by: str) -> Callable[[CallbackOptions], Iterator[Observation]]:
    def observe(_: CallbackOptions) -> Iterator[Observation]:
        figures = read()
        if not isinstance(figures, Mapping):
            yield Observation(figures)
            return
        for label, figure in figures.items():
            yield Observation(figure, {by: label})

    return observe
