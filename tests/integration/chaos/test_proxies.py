"""A proxy passes bytes on, holds them, or loses them, with its sockets open."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from components.chaos.proxies import Proxy, Target


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """A proxy before a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    made = Proxy(lambda: Target("127.0.0.1", port))
    await made.start()
    yield made
    await made.close()
    server.close()


async def said(reader: asyncio.StreamReader, within_s: float = 1.0) -> bytes | None:
    try:
        async with asyncio.timeout(within_s):
            return await reader.read(1000)
    except TimeoutError:
        return None


async def test_an_open_proxy_passes_everything_on(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"one")
    assert await said(reader) == b"one"
    writer.close()
    assert await said(reader) == b""


async def test_held_bytes_arrive_late_on_the_same_connection(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"one")
    assert await said(reader) == b"one"
    proxy.cut("held")
    writer.write(b"two")
    assert await said(reader, 0.2) is None
    proxy.restore()
    assert await said(reader) == b"two"
    writer.close()


async def test_swallowed_bytes_never_arrive_and_their_connection_ends(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"one")
    assert await said(reader) == b"one"
    proxy.cut("swallowed")
    writer.write(b"two")
    assert await said(reader, 0.2) is None
    proxy.restore()
    with contextlib.suppress(ConnectionError):  # an end too
        assert await said(reader) == b""
    writer.close()


async def test_a_connection_made_during_a_cut_leads_nowhere_until_its_end(proxy: Proxy) -> None:
    proxy.cut("swallowed")
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"one")
    assert await said(reader, 0.2) is None
    proxy.restore()
    assert await said(reader) == b"one"
    writer.close()


async def test_a_cut_says_whether_anything_came_that_did_not_pass(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"one")
    assert await said(reader) == b"one"
    proxy.cut("held")
    before = proxy.stopped_some
    writer.write(b"two")
    assert await said(reader, 0.2) is None
    assert (before, proxy.stopped_some) == (False, True)
    proxy.restore()
    assert await said(reader) == b"two"
    writer.close()
