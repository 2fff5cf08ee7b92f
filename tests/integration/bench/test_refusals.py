"""What a measurement makes of an answer that is none."""

from collections.abc import AsyncIterator

import pytest
from nats.aio.msg import Msg

from components.bench.asking import a_read
from components.bench.capacity import _asked_ms
from components.bus.connection import Bus
from contracts import headers, subjects
from contracts.errors import ErrorCode, ServiceError
from contracts.ids import GuildId
from tests.support.nats import RunningNats

GUILD = GuildId("1001")


class Owner:
    """Answers each question with these headers."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.headers = {headers.EPOCH: "1"}

    async def answer(self, message: Msg) -> None:
        await self._bus.say(message.reply, b"{}", self.headers)


@pytest.fixture
async def owner(nats_server: RunningNats) -> AsyncIterator[Owner]:
    bus = await nats_server.connect("gateway")
    made = Owner(bus)
    subject = subjects.request(GUILD, a_read().verb)
    subscription = await bus.client.subscribe(subject, cb=made.answer)
    await bus.client.flush()
    yield made
    await subscription.unsubscribe()


async def test_a_refusal_is_no_fast_answer(nats_server: RunningNats, owner: Owner) -> None:
    asker = await nats_server.connect("operator")
    assert await _asked_ms(asker, GUILD, a_read()) > 0
    owner.headers = {
        headers.SERVICE_ERROR: "not now",
        headers.SERVICE_ERROR_CODE: str(int(ErrorCode.UNAVAILABLE)),
    }
    with pytest.raises(ServiceError, match="not now"):
        await _asked_ms(asker, GUILD, a_read())
