"""The first responder over a real server, with owners that ask like a gateway pod does."""

import asyncio

import msgspec
import pytest

from components.bus.connection import Bus
from components.bus.errors import BusError
from components.responder.responder import MAX_OFFERS, Responder
from contracts import headers
from contracts.ids import Epoch, GuildId, InteractionId, Sequence
from contracts.interactions import CHANNEL_MESSAGE, AnswerTaken, InteractionAnswer
from contracts.message import decode, encode
from tests.support.nats import RunningNats

GUILD = GuildId("42")
INTERACTION = InteractionId("1001")


def an_answer(epoch: int = 1, sequence: int = 5, interaction: str = INTERACTION) -> bytes:
    return encode(
        InteractionAnswer(
            interaction=InteractionId(interaction),
            type=CHANNEL_MESSAGE,
            data=msgspec.Raw(b'{"content":"hello"}'),
            epoch=Epoch(epoch),
            sequence=Sequence(sequence),
        )
    )


class Owner:
    """Sends answers as a pod does and hears what became of them."""

    def __init__(self, bus: Bus, responder: Responder) -> None:
        self._bus = bus
        self._answer_to = f"modbot.answers.edge.{responder.replica}."

    async def answers(self, data: bytes, interaction: str = INTERACTION) -> bool:
        reply = await self._bus.ask(self._answer_to + interaction, data)
        return decode(reply.data, AnswerTaken).taken


@pytest.fixture
async def responder(nats_server: RunningNats) -> Responder:
    responder = Responder(
        await nats_server.connect("edge"), component="edge", replica="edge 0.local", limit=2
    )
    await responder.start()
    return responder


@pytest.fixture
async def owner(nats_server: RunningNats, responder: Responder) -> Owner:
    return Owner(await nats_server.connect("gateway"), responder)


async def test_what_an_owner_hears_belongs_to_the_trace_of_its_answer(
    responder: Responder, nats_server: RunningNats
) -> None:
    bus = await nats_server.connect("gateway")
    trace = "0af7651916cd43dd8448eb211c80319c"
    reply = await bus.ask(
        f"modbot.answers.edge.{responder.replica}.{INTERACTION}",
        an_answer(),
        {headers.TRACEPARENT: f"00-{trace}-b7ad6b7169203331-01"},
    )
    assert (reply.headers or {})[headers.TRACEPARENT].split("-")[1] == trace


async def test_an_answer_in_time_is_taken_and_its_owner_hears_so_once_it_is_given(
    responder: Responder, owner: Owner
) -> None:
    async with responder.expect(INTERACTION, GUILD) as pending:
        telling = asyncio.create_task(owner.answers(an_answer()))
        answer = await pending.wait(5)
        assert answer is not None
        assert bytes(answer.data) == b'{"content":"hello"}'
        # Anything answered after it, over the same connection, comes before its reply.
        assert await owner.answers(an_answer(interaction="1"), "1") is False
        assert not telling.done()
    assert await telling is True


async def test_an_answer_that_came_before_the_wait_is_taken(
    responder: Responder, owner: Owner
) -> None:
    async with responder.expect(INTERACTION) as pending:
        telling = asyncio.create_task(owner.answers(an_answer()))
        assert await owner.answers(an_answer(interaction="1"), "1") is False
        assert await pending.wait(0) is not None
    assert await telling is True


async def test_an_answer_that_could_not_be_given_was_not_taken(
    responder: Responder, owner: Owner
) -> None:
    async with responder.expect(INTERACTION) as pending:
        telling = asyncio.create_task(owner.answers(an_answer()))
        assert await pending.wait(5) is not None
        pending.withdraw()
    assert await telling is False


async def test_an_answer_whose_block_fails_was_not_taken(
    responder: Responder, owner: Owner
) -> None:
    async def discord_is_not_reachable() -> None:
        async with responder.expect(INTERACTION) as pending:
            assert await pending.wait(5) is not None
            raise ConnectionError

    telling = asyncio.create_task(owner.answers(an_answer()))
    with pytest.raises(ConnectionError):
        await discord_is_not_reachable()
    assert await telling is False


async def test_a_late_answer_is_refused_once_the_deferral_is_out(
    responder: Responder, owner: Owner
) -> None:
    async with responder.expect(INTERACTION, GUILD) as pending:
        assert await pending.wait(0.01) is None
        telling = asyncio.create_task(owner.answers(an_answer()))
        assert await owner.answers(an_answer(interaction="1"), "1") is False
        assert not telling.done()
    assert await telling is False
    assert await owner.answers(an_answer()) is False


async def test_an_answer_never_waited_for_is_refused(responder: Responder, owner: Owner) -> None:
    async with responder.expect(INTERACTION):
        telling = asyncio.create_task(owner.answers(an_answer()))
        assert await owner.answers(an_answer(interaction="1"), "1") is False
    assert await telling is False


async def test_every_answer_around_the_deadline_is_decided_the_same_for_both_sides(
    responder: Responder, owner: Owner
) -> None:
    outcomes = set()
    for number in range(60):
        interaction = str(2000 + number)
        async with responder.expect(InteractionId(interaction), GUILD) as pending:
            telling = asyncio.create_task(
                owner.answers(an_answer(interaction=interaction), interaction)
            )
            answer = await pending.wait(number * 0.00005 if number < 59 else 5)
        assert await telling is (answer is not None)
        outcomes.add(answer is not None)
    assert outcomes == {True, False}


async def test_a_replaced_owner_is_refused_while_the_new_one_is_taken(
    responder: Responder, owner: Owner
) -> None:
    async with responder.expect(INTERACTION, GUILD) as pending:
        new = asyncio.create_task(owner.answers(an_answer(epoch=2)))
        assert (await pending.wait(5)) is not None
    assert await new is True
    other = InteractionId("1002")
    async with responder.expect(other, GUILD) as pending:
        assert await owner.answers(an_answer(epoch=1, interaction=other), other) is False
        new = asyncio.create_task(owner.answers(an_answer(epoch=2, interaction=other), other))
        answer = await pending.wait(5)
        assert answer is not None
        assert answer.epoch == 2
    assert await new is True


async def test_of_two_answers_to_one_interaction_the_higher_epoch_wins(
    responder: Responder, owner: Owner
) -> None:
    async with responder.expect(INTERACTION) as pending:
        old = asyncio.create_task(owner.answers(an_answer(epoch=1)))
        new = asyncio.create_task(owner.answers(an_answer(epoch=2)))
        other = asyncio.create_task(owner.answers(an_answer(epoch=1, sequence=4)))
        assert await owner.answers(an_answer(interaction="1"), "1") is False
        answer = await pending.wait(0)
        assert answer is not None
        assert answer.epoch == 2
    # The old owner's answer to the same input is the same answer.
    assert [await old, await new, await other] == [True, True, False]


async def test_an_owner_that_asks_again_hears_the_same(responder: Responder, owner: Owner) -> None:
    async with responder.expect(INTERACTION, GUILD) as pending:
        first = asyncio.create_task(owner.answers(an_answer()))
        assert await pending.wait(5) is not None
        again = asyncio.create_task(owner.answers(an_answer()))
        other = asyncio.create_task(owner.answers(an_answer(sequence=6)))
        assert await owner.answers(an_answer(interaction="1"), "1") is False
    assert [await first, await again, await other] == [True, True, False]


async def test_an_owner_that_asks_too_often_is_refused(responder: Responder, owner: Owner) -> None:
    async with responder.expect(INTERACTION) as pending:
        asking = [asyncio.create_task(owner.answers(an_answer())) for _ in range(MAX_OFFERS)]
        assert await owner.answers(an_answer(interaction="1"), "1") is False
        assert await owner.answers(an_answer()) is False
        assert await pending.wait(0) is not None
    assert await asyncio.gather(*asking) == [True] * MAX_OFFERS


async def test_malformed_and_mismatched_answers_are_refused(
    responder: Responder, owner: Owner
) -> None:
    async with responder.expect(INTERACTION) as pending:
        assert await owner.answers(b"{") is False
        assert await owner.answers(an_answer(interaction="77")) is False
        assert await pending.wait(0) is None


async def test_with_too_many_waiting_the_next_is_deferred_at_once(
    responder: Responder, owner: Owner
) -> None:
    async with (
        responder.expect(InteractionId("1")),
        responder.expect(InteractionId("2")),
        responder.expect(INTERACTION) as pending,
        asyncio.timeout(10),
    ):
        assert await owner.answers(an_answer()) is False
        assert await pending.wait(60) is None
    async with responder.expect(INTERACTION) as pending:
        telling = asyncio.create_task(owner.answers(an_answer()))
        assert await pending.wait(5) is not None
    assert await telling is True


async def test_an_interaction_waited_for_twice_is_answered_once(
    responder: Responder, owner: Owner
) -> None:
    async with responder.expect(INTERACTION) as first, responder.expect(INTERACTION) as second:
        telling = asyncio.create_task(owner.answers(an_answer()))
        assert await second.wait(60) is None
        assert await first.wait(5) is not None
    assert await telling is True


async def test_answers_arrive_again_after_the_server_was_away(
    nats_server: RunningNats, responder: Responder, owner: Owner
) -> None:
    async def answers_when_the_bus_is_back() -> bool:
        while True:
            try:
                return await owner.answers(an_answer())
            except BusError:  # this owner, or the responder, has not reconnected yet
                await asyncio.sleep(0.02)

    nats_server.kill()
    await nats_server.start()
    async with responder.expect(INTERACTION) as pending:
        telling = asyncio.create_task(answers_when_the_bus_is_back())
        assert await pending.wait(20) is not None
        assert responder.ready
    assert await telling is True
