"""Reads of a guild: who may, whose reply counts, and what a handoff looks like."""

import asyncio
import time
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from components.bus.connection import Bus
from components.edge import owners
from contracts import headers, subjects
from contracts.errors import ErrorCode, FieldError, ServiceError
from contracts.ids import CaseNumber, GuildId, UserId
from contracts.message import encode
from contracts.requests import CaseList, CaseView, SettingsView
from contracts.settings import GuildSettings
from tests.integration.edge.running import GUILD, TOKEN, Edge
from tests.support.nats import RunningNats

API = f"/api/guilds/{GUILD}"
CASE = CaseView(
    guild=GUILD,
    number=CaseNumber(7),
    user=UserId("11"),
    action="timeout",
    status="done",
    moderator_kind="bot",
    opened_ms=1,
)


class FakeOwner:
    """Answers a guild's requests as a pod does, with an epoch and an applied sequence."""

    def __init__(self, bus: Bus, epoch: int = 1, applied: int = 10) -> None:
        self._bus = bus
        self.epoch = epoch
        self.applied = applied
        self.asked: list[Msg] = []
        self.refusal: ServiceError | None = None
        self.heard = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        self._subscription = await self._bus.listen(subjects.requests(GUILD), self._answer)
        await self._bus.barrier()

    async def close(self) -> None:
        assert self._subscription is not None
        await self._subscription.unsubscribe()
        await self._bus.barrier()

    async def _answer(self, message: Msg) -> None:
        self.asked.append(message)
        self.heard.set()
        await self.may_answer.wait()
        _, verb = subjects.guild_and_verb(message.subject)
        fields = {headers.EPOCH: str(self.epoch), headers.APPLIED: str(self.applied)}
        replies: dict[str, Any] = {
            "case.get": CASE,
            "case.list": CaseList(cases=[CASE], next_before=CaseNumber(7)),
            "settings.get": SettingsView(version=3, settings=GuildSettings()),
        }
        body = replies[verb]
        if self.refusal is not None:
            fields[headers.SERVICE_ERROR] = self.refusal.description
            fields[headers.SERVICE_ERROR_CODE] = str(self.refusal.code)
            body = self.refusal.body()
        await self._bus.say(message.reply, encode(body), fields)


@pytest.fixture
async def fake_owner(owner: Bus) -> FakeOwner:
    fake = FakeOwner(owner)
    await fake.open()
    return fake


async def test_cases_and_settings_are_read_from_the_owner(
    edge: Edge, fake_owner: FakeOwner
) -> None:
    status, body, _ = await edge.get(f"{API}/cases/7")
    assert (status, body["number"], body["action"]) == (200, 7, "timeout")
    status, body, _ = await edge.get(f"{API}/cases?user=11&before=9&limit=20")
    assert (status, body["next_before"], len(body["cases"])) == (200, 7, 1)
    assert fake_owner.asked[-1].data == b'{"user":"11","before":9,"limit":20}'
    status, body, _ = await edge.get(f"{API}/settings")
    assert (status, body["version"]) == (200, 3)
    assert body["settings"]["spam"]["thresholds"]["high"] == 15


async def test_the_etag_of_one_response_makes_the_next_at_least_as_new(
    edge: Edge, fake_owner: FakeOwner
) -> None:
    fake_owner.epoch, fake_owner.applied = 3, 120
    _, _, fields = await edge.get(f"{API}/settings")
    assert fields["etag"] == '"3-120"'
    for given in (fields["etag"], "120"):
        await edge.get(f"{API}/settings", {headers.MIN_APPLIED: given})
        assert (fake_owner.asked[-1].headers or {})[headers.MIN_APPLIED] == "120"
    assert headers.MIN_APPLIED not in (fake_owner.asked[0].headers or {})


async def test_a_request_tells_the_owner_how_long_its_caller_waits(
    edge: Edge, fake_owner: FakeOwner
) -> None:
    await edge.get(f"{API}/settings")
    fields = fake_owner.asked[0].headers or {}
    assert 0 < int(fields[headers.DEADLINE_MS]) <= 2000
    assert fields[headers.TRACEPARENT].startswith("00-")


async def test_without_the_operators_token_nothing_is_read(edge: Edge) -> None:
    wrong = ["", "Bearer", "Bearer ", "Bearer wrong", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x"]
    for path in ("/cases", "/cases/7", "/settings", "/events"):
        for authorization in wrong:
            status, body, fields = await edge.get(API + path, {"Authorization": authorization})
            assert (status, body["status"]) == (401, 401)
            assert fields["www-authenticate"].startswith("Bearer")


async def test_a_token_in_the_address_is_not_accepted(edge: Edge) -> None:
    url = f"{edge.url}{API}/settings?token={TOKEN}"
    async with edge.http.get(url) as response:
        assert response.status == 401


async def test_an_owners_refusal_becomes_a_problem(edge: Edge, fake_owner: FakeOwner) -> None:
    fields = [FieldError(path="a.b", reason="is wrong")]
    for code, status in [
        (ErrorCode.MALFORMED, 400),
        (ErrorCode.FORBIDDEN, 403),
        (ErrorCode.NOT_FOUND, 404),
        (ErrorCode.UNKNOWN_VERB, 501),
        (ErrorCode.TIMEOUT, 504),
        (ErrorCode.CONFLICT, 409),
        (ErrorCode.TOO_LARGE, 413),
        (ErrorCode.INVALID, 422),
        (ErrorCode.PARKED, 423),
        (599, 502),
    ]:
        fake_owner.refusal = ServiceError(code, "words of the owner", fields)
        got, body, answered = await edge.get(f"{API}/cases/7")
        assert (got, body["detail"]) == (status, "words of the owner")
        assert body["errors"] == [{"path": "a.b", "reason": "is wrong"}]
        assert answered["content-type"].startswith("application/problem+json")


async def test_what_cannot_be_asked_is_refused_in_words(edge: Edge, fake_owner: FakeOwner) -> None:
    for path, status in [
        ("/api/guilds/abc/settings", 404),
        ("/api/guilds/0/settings", 404),
        ("/api/guilds/*/settings", 404),
        ("/api/guilds/99999999999999999999/settings", 404),
        ("/api/guilds/4.5/events", 404),
        (f"{API}/cases/0", 400),
        (f"{API}/cases/{2**53}", 400),
        (f"{API}/cases/x", 404),
        (f"{API}/cases?limit=0", 400),
        (f"{API}/cases?limit=201", 400),
        (f"{API}/cases?limit=many", 400),
        (f"{API}/cases?before=-1", 400),
        (f"{API}/cases?user=me", 400),
        (f"{API}/nothing", 404),
    ]:
        got, body, _ = await edge.get(path)
        assert (path, got, body["status"]) == (path, status, status)
        assert body["detail"]
    for given in ("x", "-", "1.5", "9" * 19, "³", ""):
        got, _, _ = await edge.get(f"{API}/settings", {headers.MIN_APPLIED: given})
        assert (given, got) == (given, 400)
    assert fake_owner.asked == []


async def test_a_handoff_is_a_pause_and_not_an_error(edge: Edge, owner: Bus) -> None:
    reading = asyncio.create_task(edge.get(f"{API}/settings"))
    await asyncio.sleep(0.5)  # the pause itself: for so long nobody owns the guild
    await FakeOwner(owner, epoch=2).open()
    status, _, fields = await reading
    assert (status, fields["etag"]) == (200, '"2-10"')


async def test_whoever_takes_the_guild_answers_the_request_that_its_former_owner_turned_away(
    edge: Edge,
    owner: Bus,
    fake_owner: FakeOwner,
    nats_server: RunningNats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owners, "FIRST_PAUSE_S", 1.5)
    fake_owner.refusal = ServiceError(ErrorCode.MOVED, "moved")
    new = FakeOwner(await nats_server.connect("gateway", "new"), epoch=2)
    new.may_answer.clear()
    await new.open()
    reading = asyncio.create_task(edge.get(f"{API}/settings"))
    await asyncio.gather(new.heard.wait(), fake_owner.heard.wait())
    await owner.barrier()  # the former owner's words are out
    new.may_answer.set()
    status, _, fields = await reading
    assert (status, fields["etag"]) == (200, '"2-10"')
    assert len(new.asked) == len(fake_owner.asked) == 1


async def test_an_owner_that_is_not_ready_is_asked_again(edge: Edge, fake_owner: FakeOwner) -> None:
    fake_owner.refusal = ServiceError(ErrorCode.UNAVAILABLE, "opening")
    reading = asyncio.create_task(edge.get(f"{API}/settings"))
    while len(fake_owner.asked) < 3:
        await asyncio.sleep(0.01)
    fake_owner.refusal = None
    assert (await reading)[0] == 200


async def test_without_an_owner_it_is_503_and_when_to_come_back(edge: Edge) -> None:
    started = time.monotonic()
    status, body, fields = await edge.get(f"{API}/settings")
    assert 1.9 < time.monotonic() - started < 3
    assert (status, fields["retry-after"]) == (503, "2")
    assert "no gateway pod owns this guild" in body["detail"]


async def test_a_replaced_owner_is_not_believed(
    edge: Edge, fake_owner: FakeOwner, nats_server: RunningNats
) -> None:
    new = FakeOwner(await nats_server.connect("gateway", "new"), epoch=2, applied=11)
    await fake_owner.close()
    await new.open()
    assert (await edge.get(f"{API}/settings"))[2]["etag"] == '"2-11"'
    await new.close()
    await fake_owner.open()  # epoch 1 wakes up late, and alone
    status, body, _ = await edge.get(f"{API}/settings")
    assert status == 503
    assert "did not answer" in body["detail"]


async def test_beside_a_replaced_owner_the_current_one_is_heard(
    edge: Edge, fake_owner: FakeOwner, nats_server: RunningNats
) -> None:
    new = FakeOwner(await nats_server.connect("gateway", "new"), epoch=2, applied=11)
    await fake_owner.close()
    await new.open()
    assert (await edge.get(f"{API}/settings"))[2]["etag"] == '"2-11"'
    await new.close()
    # From here on the replaced one is subscribed first and is the first to answer.
    await fake_owner.open()
    await new.open()
    tags = [(await edge.get(f"{API}/settings"))[2]["etag"] for _ in range(20)]
    assert tags == ['"2-11"'] * 20
    assert len(fake_owner.asked) == 20


async def test_an_owner_that_died_with_the_question_is_asked_anew(
    edge: Edge, nats_server: RunningNats
) -> None:
    asked = asyncio.Event()

    async def silent(_: Msg) -> None:
        asked.set()

    dying = await nats_server.connect("gateway", "dying")
    await dying.listen(subjects.requests(GUILD), silent)
    await dying.barrier()
    reading = asyncio.create_task(edge.get(f"{API}/settings"))
    await asked.wait()
    await dying.close()
    await FakeOwner(await nats_server.connect("gateway", "next"), epoch=2).open()
    assert (await reading)[0] == 200


async def test_a_reply_that_cannot_be_read_is_502_and_says_nothing_of_the_inside(
    edge: Edge, owner: Bus
) -> None:
    view = encode(SettingsView(version=0, settings=GuildSettings()))
    place = {headers.EPOCH: "1", headers.APPLIED: "1"}
    replies: list[tuple[bytes, dict[str, str]]] = [
        (view, {}),
        (view, {headers.EPOCH: "1"}),
        (view, {headers.APPLIED: "1"}),
        (view, {**place, headers.EPOCH: "x"}),
        (b'{"secret":1}', place),
        (b"secret", place),
        (b"", place),
    ]
    coming = iter(replies)

    async def reply(message: Msg) -> None:
        data, fields = next(coming)
        await owner.say(message.reply, data, fields)

    await owner.listen(subjects.requests(GUILD), reply)
    await owner.barrier()
    for _ in replies:
        status, body, _ = await edge.get(f"{API}/settings")
        assert (status, body["status"]) == (502, 502)
        assert "secret" not in str(body)


async def test_while_the_bus_is_away_reads_are_503_in_words(
    edge: Edge, fake_owner: FakeOwner, nats_server: RunningNats
) -> None:
    assert (await edge.get(f"{API}/settings"))[0] == 200
    nats_server.kill()
    status, body, fields = await edge.get(f"{API}/settings")
    assert (status, fields["retry-after"]) == (503, "2")
    assert "message bus" in body["detail"]


async def test_another_guilds_owner_is_not_asked(edge: Edge, fake_owner: FakeOwner) -> None:
    other = GuildId("4300000000000000043")
    status, _, _ = await edge.get(f"/api/guilds/{other}/settings")
    assert (status, fake_owner.asked) == (503, [])
