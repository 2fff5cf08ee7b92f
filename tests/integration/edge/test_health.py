"""Whether an edge is up and ready, what its responses tell browsers, and its schema."""

import asyncio

from components.edge.security import SECURITY_HEADERS
from tests.integration.edge.running import GUILD, Edge
from tests.support.nats import RunningNats


async def test_an_edge_with_a_bus_is_up_and_ready(edge: Edge) -> None:
    assert (await edge.get("/healthz"))[:2] == (200, {"status": "up"})
    assert (await edge.get("/readyz"))[:2] == (200, {"status": "ready"})


async def test_without_nats_an_edge_is_up_but_not_ready_until_it_is_back(
    edge: Edge, nats_server: RunningNats
) -> None:
    assert (await edge.get("/readyz"))[0] == 200
    nats_server.kill()
    async with asyncio.timeout(10):
        while (got := await edge.get("/readyz"))[0] == 200:
            await asyncio.sleep(0.01)
    assert (got[0], got[1]["detail"]) == (503, "not connected to NATS")
    assert (await edge.get("/healthz"))[0] == 200
    await nats_server.start()
    async with asyncio.timeout(10):
        while (await edge.get("/readyz"))[0] != 200:
            await asyncio.sleep(0.01)


async def test_every_response_has_strict_security_headers(edge: Edge) -> None:
    for path in ("/healthz", "/nothing", f"/api/guilds/{GUILD}/settings", "/schema/openapi.json"):
        async with edge.http.get(edge.url + path) as response:
            for name, value in SECURITY_HEADERS:
                assert response.headers.getall(name.decode()) == [value.decode()]
            assert "access-control-allow-origin" not in response.headers
            assert "server" not in response.headers


async def test_no_other_origin_is_let_in(edge: Edge) -> None:
    origin = {"Origin": "https://example.org", "Access-Control-Request-Method": "GET"}
    async with edge.http.options(f"{edge.url}/api/guilds/1/settings", headers=origin) as response:
        assert "access-control-allow-origin" not in response.headers


async def test_the_schema_names_the_reads_and_loads_nothing_from_elsewhere(edge: Edge) -> None:
    status, schema, _ = await edge.get("/schema/openapi.json")
    assert status == 200
    assert set(schema["paths"]) == {
        "/healthz",
        "/readyz",
        "/api/guilds/{guild}/cases",
        "/api/guilds/{guild}/cases/{number}",
        "/api/guilds/{guild}/settings",
        "/api/guilds/{guild}/events",
    }
    for page in ("/schema", "/schema/swagger", "/schema/redoc"):
        async with edge.http.get(edge.url + page) as response:
            assert "<script" not in await response.text()
