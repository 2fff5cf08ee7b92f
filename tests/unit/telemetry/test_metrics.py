"""Metrics: read when they are scraped, over HTTP, in the words of Prometheus."""

import asyncio
import logging
from collections.abc import Mapping

import aiohttp
import pytest

from components.telemetry.metrics import Metrics, counter, gauge, served


def lines(text: str) -> dict[str, str]:
    """The samples of a scrape: name and labels, and the figure."""
    found = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: figure for name, _, figure in found}


async def scraped(port: int) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        return await answer.text()


async def test_a_scrape_tells_what_the_figures_are_at_that_moment() -> None:
    measured = Metrics("gateway", "gateway-7")
    meter = measured.provider.get_meter("test")
    lag, pruned = 0.0, 0
    gauge("modbot.lag", lambda: lag, "how far behind", unit="s", meter=meter)
    counter("modbot.pruned", lambda: pruned, "what went", meter=meter)
    async with served(measured, "127.0.0.1", 0) as port:
        first = lines(await scraped(port))
        lag, pruned = 2.5, 3
        text = await scraped(port)
    assert (first["modbot_lag_seconds"], first["modbot_pruned_total"]) == ("0.0", "0.0")
    second = lines(text)
    assert (second["modbot_lag_seconds"], second["modbot_pruned_total"]) == ("2.5", "3.0")
    assert float(second["process_resident_memory_bytes"]) > 0
    assert 'service_instance_id="gateway-7"' in text
    assert "# HELP modbot_lag_seconds how far behind" in text


async def test_a_figure_of_many_is_told_apart_by_its_label() -> None:
    measured = Metrics("config", "config-0")
    alarms = {"backup-lag": 2, "full": 1}
    gauge(
        "modbot.alarms",
        lambda: alarms,
        "what stands",
        by="alarm",
        meter=measured.provider.get_meter("test"),
    )
    async with served(measured, "127.0.0.1", 0) as port:
        first = lines(await scraped(port))
        del alarms["full"]
        second = lines(await scraped(port))
    assert first['modbot_alarms{alarm="backup-lag"}'] == "2.0"
    assert first['modbot_alarms{alarm="full"}'] == "1.0"
    assert 'modbot_alarms{alarm="full"}' not in second


async def test_a_figure_that_cannot_be_read_is_left_out_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)  # whatever ran before
    measured = Metrics("config", "config-0")
    meter = measured.provider.get_meter("test")

    def broken() -> Mapping[str, float]:
        raise LookupError("no such row")

    gauge("modbot.broken", broken, "never there", by="row", meter=meter)
    gauge("modbot.whole", lambda: 1, "always there", meter=meter)
    async with served(measured, "127.0.0.1", 0) as port:
        found = lines(await scraped(port))
    assert found["modbot_whole"] == "1.0"
    assert not any(name.startswith("modbot_broken") for name in found)
    assert "no such row" in caplog.text


async def test_nobody_listens_any_more_after_the_end() -> None:
    async with served(Metrics("edge", "edge-0"), "127.0.0.1", 0) as port:
        await scraped(port)
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_an_address_that_is_taken_is_an_error() -> None:
    async with served(Metrics("edge", "edge-0"), "127.0.0.1", 0) as port:
        with pytest.raises(OSError):
            async with served(Metrics("edge", "edge-1"), "127.0.0.1", port):
                pass
