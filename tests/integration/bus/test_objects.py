"""The object store holds what was put, under the rights that a gateway has."""

import base64
import hashlib
import os

import pytest
from nats.js.object_store import ObjectStore

from components.bus import stream
from components.bus.connection import Bus
from components.bus.errors import NotConnected, Unanswered
from components.bus.objects import AT_ONCE, CHUNK, DamagedObject, Objects
from contracts import storage
from tests.support.nats import RunningNats

STREAM = f"OBJ_{storage.SNAPSHOTS}"


@pytest.fixture
async def bus(nats_server: RunningNats) -> Bus:
    return await nats_server.connect("gateway")


@pytest.fixture
def objects(bus: Bus) -> Objects:
    return Objects(bus, storage.SNAPSHOTS)


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 2 * AT_ONCE * CHUNK + 7])
async def test_what_was_put_is_got_whatever_its_size(objects: Objects, size: int) -> None:
    data = os.urandom(size)
    await objects.put("other", b"not this")
    digest = await objects.put("one", data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert await objects.get("one", size, digest) == data


async def test_an_object_that_was_deleted_leaves_nothing(objects: Objects, bus: Bus) -> None:
    digest = await objects.put("one", b"rows")
    await objects.delete("one")
    await objects.delete("one")
    assert (await stream.bounds(bus, STREAM)).messages == 0
    with pytest.raises(DamagedObject, match="gone"):
        await objects.get("one", 4, digest)


async def test_an_object_with_other_bytes_than_were_put_is_refused(
    objects: Objects, bus: Bus
) -> None:
    digest = await objects.put("one", b"rows")
    await bus.append(f"$O.{storage.SNAPSHOTS}.C.one", b"more")
    with pytest.raises(DamagedObject, match="not those that were put"):
        await objects.get("one", 8, digest)


async def test_the_clients_own_store_knows_what_was_put(objects: Objects, bus: Bus) -> None:
    data = os.urandom(CHUNK + 5)
    digest = await objects.put("one", data)
    store = ObjectStore(storage.SNAPSHOTS, STREAM, bus.client.jetstream())
    info = await store.get_info("one")
    assert (info.name, info.size, info.chunks) == ("one", len(data), 2)
    assert info.digest is not None
    kept = base64.urlsafe_b64decode(info.digest.removeprefix("SHA-256="))
    assert kept.hex() == digest


async def test_a_put_without_a_connection_fails_at_once(
    objects: Objects, nats_server: RunningNats
) -> None:
    nats_server.kill()
    with pytest.raises((NotConnected, Unanswered)):
        await objects.put("one", b"rows", timeout_s=1)
