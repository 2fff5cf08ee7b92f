"""Streams are created once, and what an operator gave them is kept."""

import json
from typing import Any

from components.bus.connection import Bus
from components.bus.provisioning import provision
from contracts import storage
from tests.support.nats import RunningNats


async def config_of(bus: Bus, name: str) -> dict[str, Any]:
    answer = await bus.ask(f"$JS.API.STREAM.INFO.{name}", b"")
    config: dict[str, Any] = json.loads(answer.data)["config"]
    return config


async def change(bus: Bus, **changes: Any) -> None:
    wanted = storage.inputs_stream() | changes
    answer = await bus.ask(f"$JS.API.STREAM.UPDATE.{storage.INPUTS}", json.dumps(wanted).encode())
    assert "error" not in json.loads(answer.data), answer.data


async def test_room_that_a_stream_was_given_is_not_taken_back(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("provisioner")
    usual = storage.inputs_stream()["max_bytes"]
    await change(bus, max_bytes=2 * usual)
    await provision(bus)
    assert (await config_of(bus, storage.INPUTS))["max_bytes"] == 2 * usual


async def test_a_stream_with_other_settings_is_brought_up_to_date(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("provisioner")
    usual = storage.inputs_stream()
    await change(bus, max_bytes=1024, max_age=usual["max_age"] // 2)
    await provision(bus)
    config = await config_of(bus, storage.INPUTS)
    assert (config["max_bytes"], config["max_age"]) == (usual["max_bytes"], usual["max_age"])
