"""Requests to the owner of a guild."""

import asyncio
import contextlib

import pytest

from contracts import headers
from contracts.errors import ErrorCode, ServiceError
from contracts.inputs import CommandReceived
from tests.integration.gateway.town import OPERATOR, Pods, Town


@pytest.fixture
async def served(town: Town, pods: Pods) -> Town:
    await town.assign("gateway-0", await pods.inside())
    await town.served()
    return town


async def refused(served: Town, verb: str, body: object = None, **fields: str) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await served.ask(verb, body, **fields)
    return caught.value


async def test_a_read_carries_epoch_and_applied_sequence(served: Town) -> None:
    message = await served.operator.ask(f"modbot.rpc.{served.guild}.settings.get", b"{}")
    fields = dict(message.headers or {})
    assert fields[headers.EPOCH] == "1"
    assert int(fields[headers.APPLIED]) >= served.first_sequence


async def test_a_read_waits_for_the_sequence_its_caller_has_seen(served: Town) -> None:
    stored = await served.dispatch("GUILD_UPDATE", {"id": served.guild, "name": "renamed"})
    answer = await served.ask("status", Modbot_Min_Applied=str(stored.sequence))
    assert answer["name"] == "renamed"
    assert answer["applied"] >= stored.sequence


async def test_a_read_that_waits_in_vain_is_answered_at_its_deadline(served: Town) -> None:
    error = await refused(served, "status", Modbot_Min_Applied="99999999", Modbot_Deadline_Ms="200")
    assert error.code == ErrorCode.TIMEOUT


async def test_a_write_is_on_the_log_before_it_is_acknowledged(served: Town) -> None:
    reply = await served.put_settings("request-1", spam={"timeout_s": 60})
    assert reply["version"] == 1
    commands = [item for item in await served.inputs() if isinstance(item, CommandReceived)]
    assert [command.request_id for command in commands] == ["request-1"]


async def test_a_write_sent_again_under_its_id_is_done_once_and_answered_alike(
    served: Town,
) -> None:
    first = await served.put_settings("request-1", spam={"timeout_s": 60})
    await served.put_settings("request-2", spam={"timeout_s": 70})
    again = await served.put_settings("request-1", spam={"timeout_s": 60})
    assert again == first
    assert (await served.ask("settings.get"))["version"] == 2


async def test_the_same_write_at_once_is_done_once(served: Town) -> None:
    replies = await asyncio.gather(
        *(served.put_settings("request-1", spam={"timeout_s": 60}) for _ in range(5))
    )
    assert replies == [replies[0]] * 5
    assert (await served.ask("settings.get"))["version"] == 1


async def test_a_write_without_an_id_is_refused(served: Town) -> None:
    error = await refused(served, "settings.put", {"actor": OPERATOR, "settings": {}})
    assert error.code == ErrorCode.MALFORMED
    assert headers.REQUEST_ID in error.description


async def test_invalid_settings_are_refused_with_the_fields_named(served: Town) -> None:
    with pytest.raises(ServiceError) as caught:
        await served.put_settings("request-1", spam={"timeout_s": -5})
    assert caught.value.code == ErrorCode.INVALID
    assert any("timeout_s" in field.path for field in caught.value.fields)
    assert (await served.ask("settings.get"))["version"] == 0


async def test_an_unknown_verb_is_answered_with_the_known_ones(served: Town) -> None:
    error = await refused(served, "guild.explode")
    assert error.code == ErrorCode.UNKNOWN_VERB
    assert "settings.get" in error.description


@pytest.mark.parametrize("body", [{"number": "one"}, {"number": 1, "extra": 2}, {}, [1]])
async def test_a_malformed_request_is_refused(served: Town, body: object) -> None:
    assert (await refused(served, "case.get", body)).code == ErrorCode.MALFORMED


async def test_a_malformed_minimum_is_refused(served: Town) -> None:
    error = await refused(served, "status", Modbot_Min_Applied="soon")
    assert error.code == ErrorCode.MALFORMED


async def test_a_skip_of_a_guild_that_is_not_parked_is_refused(served: Town) -> None:
    body = {"actor": OPERATOR, "sequence": 1, "reason": "why not"}
    assert (await refused(served, "input.skip", body)).code == ErrorCode.CONFLICT


async def test_a_malformed_input_is_quarantined_visibly_and_the_guild_goes_on(
    served: Town,
) -> None:
    await served.dispatch("MESSAGE_CREATE", {"guild_id": served.guild, "id": "not a number"})
    await served.shard.append(f"modbot.in.{served.guild}", b"{not json", {})
    stored = await served.dispatch("GUILD_UPDATE", {"id": served.guild, "name": "goes on"})
    await served.ask("status", Modbot_Min_Applied=str(stored.sequence))
    listed = (await served.ask("quarantine.list"))["inputs"]
    assert len(listed) == 2
    assert all(item["reason"] for item in listed)
    assert (await served.status()).name == "goes on"


async def test_an_oversized_write_is_refused_and_the_pod_goes_on(served: Town) -> None:
    with pytest.raises(ServiceError) as caught:
        await served.put_settings("request-1", spam={"keywords": {"scam": ["x" * 600_000]}})
    assert caught.value.code == ErrorCode.TOO_LARGE
    assert (await served.ask("settings.get"))["version"] == 0


@pytest.mark.parametrize("name", ["Modbot_Min_Applied", "Modbot_Deadline_Ms"])
async def test_a_header_with_too_many_digits_harms_nobody(served: Town, name: str) -> None:
    with contextlib.suppress(ServiceError):
        await served.ask("status", **{name: "9" * 5000})
    assert (await served.status()).epoch == 1
