"""The connection: appends are answered, nothing is buffered while disconnected."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator

import pytest
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport

from components.bus import stream
from components.bus.connection import CLOSE_WITHIN_S, Bus
from components.bus.errors import NoOwner, NotConnected, TooLarge, Unanswered, WrongLastSequence
from contracts import headers, storage, subjects
from contracts.ids import GuildId, Sequence
from tests.support.nats import RunningNats

GUILD = GuildId("42")


async def test_append_is_stored_once_under_its_id(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("gateway")
    first = await bus.append(subjects.inputs(GUILD), b"{}", {headers.MSG_ID: "a"})
    again = await bus.append(subjects.inputs(GUILD), b"{}", {headers.MSG_ID: "a"})
    assert (first.sequence, first.duplicate) == (1, False)
    assert (again.sequence, again.duplicate) == (1, True)


async def test_append_is_republished_with_its_sequence_and_the_one_before(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("gateway")
    seen: asyncio.Queue[Msg] = asyncio.Queue()
    await bus.listen(subjects.live(GUILD), seen.put)
    await bus.append(subjects.inputs(GUILD), b"1")
    await bus.append(subjects.inputs(GuildId("43")), b"other guild")
    await bus.append(subjects.inputs(GUILD), b"2")
    first = (await seen.get()).headers or {}
    second = (await seen.get()).headers or {}
    assert (first[headers.SEQUENCE], first[headers.LAST_SEQUENCE]) == ("1", "0")
    assert (second[headers.SEQUENCE], second[headers.LAST_SEQUENCE]) == ("3", "1")


async def test_a_lost_compare_and_set_is_wrong_last_sequence(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("gateway")
    subject = subjects.event(GUILD, "case.opened")
    expected = {
        headers.EXPECTED_LAST_SUBJECT_SEQUENCE: "0",
        headers.EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT: subjects.events(GUILD),
    }
    await bus.append(subject, b"{}", expected)
    with pytest.raises(WrongLastSequence):
        await bus.append(subjects.event(GUILD, "case.updated"), b"{}", expected)


async def test_nobody_listening_is_no_owner(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("operator")
    with pytest.raises(NoOwner):
        await bus.ask(subjects.request(GUILD, "status"), b"{}")


async def test_nothing_sent_while_disconnected_arrives_later(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("gateway")
    lost, back = asyncio.Event(), asyncio.Event()

    async def on_lost() -> None:
        lost.set()

    async def on_back() -> None:
        back.set()

    bus.on_lost(on_lost)
    bus.on_connected(on_back)
    link = bus.link
    nats_server.kill()
    await lost.wait()
    with pytest.raises(NotConnected):
        await bus.append(subjects.inputs(GUILD), b"stale")
    with pytest.raises(NotConnected):
        await bus.say(subjects.inputs(GUILD), b"stale")
    await nats_server.start()
    await back.wait()
    assert bus.link == link + 1
    fresh = await bus.append(subjects.inputs(GUILD), b"fresh")
    assert fresh.sequence == 1


async def test_read_batch_returns_one_subject_in_order(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("gateway")
    for number in range(5):
        await bus.append(subjects.inputs(GUILD), str(number).encode(), {"traceparent": "t"})
        await bus.append(subjects.inputs(GuildId("43")), b"x")
    messages = await stream.read_batch(
        bus, storage.INPUTS, subjects.inputs(GUILD), Sequence(2), batch=3
    )
    assert [m.data for m in messages] == [b"1", b"2", b"3"]
    assert [m.sequence for m in messages] == [3, 5, 7]
    assert messages[0].headers["traceparent"] == "t"
    assert await stream.read_batch(bus, storage.INPUTS, subjects.inputs(GUILD), Sequence(11)) == []


async def test_last_sequences_covers_all_subjects_up_to_a_sequence(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("gateway")
    for guild in ("42", "43", "42"):
        await bus.append(subjects.inputs(GuildId(guild)), b"x")
    names = [subjects.inputs(GuildId(guild)) for guild in ("42", "43", "44")]
    found = await stream.last_sequences(bus, storage.INPUTS, names)
    assert found.sequences == {"modbot.in.42": 3, "modbot.in.43": 2}
    assert found.up_to >= 3


async def test_bounds_name_the_generation_and_the_leader_reads_first_and_last(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("gateway")
    for number in range(3):
        await bus.append(subjects.inputs(GUILD), str(number).encode())
    bounds = await stream.bounds(bus, storage.INPUTS)
    assert (bounds.first, bounds.last) == (1, 3)
    assert bounds.generation.startswith("20")
    first = await stream.first_of_subject(bus, storage.INPUTS, subjects.inputs(GUILD))
    last = await stream.last_of_subject(bus, storage.INPUTS, subjects.inputs(GUILD))
    assert first is not None
    assert last is not None
    assert (first.data, last.data) == (b"0", b"2")
    assert await stream.last_of_subject(bus, storage.INPUTS, "modbot.in.99") is None


async def test_a_message_larger_than_the_server_takes_is_too_large(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("gateway")
    subject, data = subjects.inputs(GUILD), b"x" * (bus.client.max_payload + 1)
    with pytest.raises(TooLarge):
        await bus.append(subject, data)
    with pytest.raises(TooLarge):
        await bus.ask(subject, data)
    with pytest.raises(TooLarge):
        await bus.say(subject, data)
    assert bus.connected
    assert (await bus.append(subject, b"{}")).sequence == 1


async def test_closing_while_the_server_is_away_leaves_no_task(nats_server: RunningNats) -> None:
    buses = [await nats_server.connect("gateway") for _ in range(20)]
    nats_server.kill()
    while any(bus.connected for bus in buses):
        await asyncio.sleep(0)  # the client's own event: it finds out by reading
    before = asyncio.all_tasks()
    for number, bus in enumerate(buses):
        # Closed at different moments of its attempts to reconnect, one each 0.1 s.
        await asyncio.sleep(0.007 * (number % 10))
        async with asyncio.timeout(5):
            await bus.close()
        task = bus.client._reconnection_task
        assert task is None or task.done()
    assert asyncio.all_tasks() <= before


async def test_whatever_is_asked_while_a_subscription_is_finished_is_handled_or_has_no_owner(
    nats_server: RunningNats,
) -> None:
    bus, caller = await nats_server.connect("gateway"), await nats_server.connect("operator")
    subject = subjects.request(GUILD, "status")

    async def answer(message: Msg) -> None:
        await bus.say(message.reply, b"{}")

    async def ask_until_there_is_no_owner() -> None:
        with contextlib.suppress(NoOwner):
            while True:
                await caller.ask(subject, b"{}", timeout_s=10.0)  # `Unanswered` fails the test

    for _ in range(100):
        subscription = await bus.listen(subject, answer)
        await bus.barrier()
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(ask_until_there_is_no_owner())
            await asyncio.sleep(0)
            await bus.finish(subscription)


@contextlib.contextmanager
def hung(server: RunningNats) -> Iterator[None]:
    """The server takes what is sent, as far as the kernel does, and answers afterwards."""
    process = server.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


async def fill(bus: Bus) -> None:
    """Send until the kernel takes no more for a server that hangs."""
    assert isinstance(bus.client._transport, TcpTransport)
    writer = bus.client._transport._io_writer
    assert writer is not None
    async with asyncio.timeout(5):
        while writer.transport.get_write_buffer_size() == 0:
            await bus.say(subjects.inputs(GUILD), b"x" * 500_000)
            await asyncio.sleep(0)


async def test_an_answer_to_a_ping_that_was_given_up_does_not_end_the_reading(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("gateway")
    link = bus.link

    async def ignore(message: Msg) -> None: ...

    subscription = await bus.listen(subjects.live(GUILD), ignore)
    await bus.barrier()
    with hung(nats_server):
        await bus.finish(subscription, within_s=0.2)
    (ping,) = bus.client._pongs
    assert ping.cancelled()
    assert (await bus.append(subjects.inputs(GUILD), b"{}")).sequence == 1
    assert not bus.client._pongs  # the answer came
    assert bus.link == link


async def test_a_connection_that_nobody_reads_is_left_after_an_unanswered_request(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("gateway")
    back = asyncio.Event()

    async def on_back() -> None:
        back.set()

    bus.on_connected(on_back)
    assert bus.client._reading_task is not None
    bus.client._reading_task.cancel()
    with pytest.raises(Unanswered):
        await bus.append(subjects.inputs(GUILD), b"{}", timeout_s=0.2)
    async with asyncio.timeout(4):  # the client's own pings would take 10 s and more
        await back.wait()
    assert (await bus.append(subjects.inputs(GUILD), b"{}")).sequence == 2


async def test_half_a_message_of_a_lost_connection_is_not_completed_from_the_next(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("gateway")
    back = asyncio.Event()

    async def on_back() -> None:
        back.set()

    bus.on_connected(on_back)
    seen: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await bus.listen(subjects.live(GUILD), seen.put)
    await bus.barrier()
    transport = bus.client._transport
    assert isinstance(transport, TcpTransport)
    assert transport._io_reader is not None
    half = f"MSG {subjects.live(GUILD)} {subscription._id} 100\r\nthe other half never comes"
    transport._io_reader.feed_data(half.encode())  # as it comes from the socket
    await bus.client.force_reconnect()  # before the client's task has read it
    async with asyncio.timeout(5):
        await back.wait()
        await bus.append(subjects.inputs(GUILD), b"whole")
        assert (await seen.get()).data == b"whole"


async def test_closing_does_not_wait_for_a_hung_server(nats_server: RunningNats) -> None:
    before = asyncio.all_tasks()
    bus = await nats_server.connect("gateway")

    async def ignore(message: Msg) -> None: ...

    await bus.listen(subjects.live(GUILD), ignore)
    with hung(nats_server):
        await fill(bus)
        async with asyncio.timeout(CLOSE_WITHIN_S + 3):
            await bus.close()
    assert asyncio.all_tasks() <= before


async def test_a_hung_server_is_left_although_not_all_was_written_to_it(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("gateway")
    lost, back = asyncio.Event(), asyncio.Event()

    async def on_lost() -> None:
        lost.set()

    async def on_back() -> None:
        back.set()

    bus.on_lost(on_lost)
    bus.on_connected(on_back)
    with hung(nats_server):
        await fill(bus)
        with pytest.raises(Unanswered):
            await bus.append(subjects.inputs(GUILD), b"{}", timeout_s=0.2)
        async with asyncio.timeout(4):
            await lost.wait()
    async with asyncio.timeout(10):
        await back.wait()
