"""A guild's log in memory and an engine that applies it: what the engine's tests are written in."""

import sqlite3
from typing import Any

import msgspec

from components.gateway.engine.dump import canonical_dump
from components.gateway.engine.effects import AnyPayload, payload_of
from components.gateway.engine.engine import Engine
from components.gateway.engine.model import Applied, Effect, LoggedInput
from components.gateway.engine.schema import open_database
from contracts.facts import FACT_OF_TYPE, Fact
from contracts.ids import DISCORD_EPOCH_MS, Epoch, GuildId, PodId, RequestId, Sequence
from contracts.inputs import (
    Actor,
    CommandReceived,
    DiscordDispatch,
    EffectError,
    EffectResult,
    FactsPublished,
    GuildSignal,
    Input,
    InteractionReceived,
    OwnerOpened,
    SkipInput,
    TimerFired,
    catch_up_id,
    effect_result_id,
    timer_id,
)
from contracts.message import Message, decode, encode
from contracts.requests import CaseView, GetCase, GetGuildStatus, GuildStatus, ListCases, Request

GUILD = GuildId("1000")
OTHER_GUILD = GuildId("2000")
BOT = "9000"
OWNER = "9001"
MODERATOR_ROLE = "3001"
RESTRICTED_ROLE = "3002"
ADMIN_ROLE = "3003"
MVP_ROLE = "3004"
MOD_LOG = "4000"
T0 = 1_800_000_000_000
DAY_MS = 86_400_000
OPERATOR = Actor(kind="operator", id="ops")
JOINED_LONG_AGO = "2020-01-01T00:00:00+00:00"


def snowflake(ms: int, number: int = 1) -> str:
    """An id made at this moment."""
    return str(((ms - DISCORD_EPOCH_MS) << 22) | number)


MEMBER = snowflake(T0 - 400 * DAY_MS)
"""An old account."""


def message(
    content: str = "hello",
    *,
    at: int = T0,
    channel: str = "500",
    author: str = MEMBER,
    number: int = 1,
    guild: str = GUILD,
    joined: str | None = JOINED_LONG_AGO,
    roles: list[str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The data of a MESSAGE_CREATE; ``number`` tells messages of one moment apart."""
    return {
        "id": snowflake(at, number),
        "channel_id": channel,
        "guild_id": guild,
        "author": {"id": author, "username": f"user_{author[-4:]}"},
        "member": {"roles": roles or [], "joined_at": joined},
        "content": content,
        **more,
    }


def snapshot(guild: str = GUILD, **more: Any) -> dict[str, Any]:
    """The data of a GUILD_CREATE as the shard trims it."""
    return {
        "id": guild,
        "name": "Gardeners",
        "owner_id": OWNER,
        "roles": [
            {"id": guild, "name": "@everyone", "permissions": "0", "position": 0},
            {"id": MODERATOR_ROLE, "name": "Crew", "permissions": "8192", "position": 3},
            {"id": RESTRICTED_ROLE, "name": "Quiet", "permissions": "0", "position": 1},
            {"id": ADMIN_ROLE, "name": "Boss", "permissions": "8", "position": 5},
            {"id": MVP_ROLE, "name": "MvP", "permissions": "0", "position": 2},
        ],
        "channels": [{"id": MOD_LOG, "name": "mod-log", "type": 0, "parent_id": None}],
        "modbot": {"user_id": BOT, "application_id": "9002"},
        **more,
    }


class Log:
    """One guild's log with an engine on it. ``settings`` is a document put before the tests'
    inputs."""

    def __init__(
        self,
        settings: dict[str, Any] | None = None,
        *,
        guild: GuildId = GUILD,
        database: sqlite3.Connection | None = None,
        opened: bool = True,
    ) -> None:
        self.guild = guild
        self.database = database if database is not None else open_database(":memory:")
        self.engine = Engine(self.database)
        self.engine.create(guild, "g1")
        self.items: list[LoggedInput] = []
        self.sequence = 0
        self.session_sequence = 0
        self.now = T0
        if opened:
            self.open(1)
            self.dispatch("GUILD_CREATE", snapshot(guild))
        if settings is not None:
            reply = self.put_settings(settings).reply
            assert reply is not None
            assert reply.error is None, reply.error

    def item(self, entry: Input | bytes, message_id: str | None = None) -> LoggedInput:
        """The next message of the log."""
        self.sequence += 1
        return LoggedInput(
            guild=self.guild,
            sequence=Sequence(self.sequence),
            stored_ms=self.now,
            message_id=f"id-{self.sequence}" if message_id is None else message_id,
            traceparent=f"00-trace-{self.sequence}",
            data=entry if isinstance(entry, bytes) else encode(entry),
        )

    def add(self, entry: Input | bytes, message_id: str | None = None) -> Applied:
        """Append and apply."""
        item = self.item(entry, message_id)
        self.items.append(item)
        return self.engine.apply(item)

    def open(self, epoch: int, version: int = 1) -> Applied:
        return self.add(
            OwnerOpened(epoch=Epoch(epoch), pod="p", incarnation="i", engine_version=version)  # type: ignore[arg-type]
        )

    def dispatch(
        self,
        event: str,
        data: Any,
        *,
        session: str = "s1",
        sequence: int | None = None,
        previous: int | None = None,
        part: int = 1,
        parts: int = 1,
        overlap: bool = False,
    ) -> Applied:
        """A dispatch, by default the next one of session ``s1`` in an unbroken chain."""
        if sequence is None:
            self.session_sequence += 1
            sequence = self.session_sequence
            previous = sequence - 1 or None
        return self.add(
            DiscordDispatch(
                session=session,  # type: ignore[arg-type]
                shard=0,
                sequence=sequence,
                previous=previous,
                event=event,
                part=part,
                parts=parts,
                overlap=overlap,
                data=msgspec.Raw(msgspec.json.encode(data)),
            )
        )

    def catch_up(
        self,
        event: str,
        data: Any,
        *,
        session: str = "s1",
        sequence: int = 1,
        message_id: str | None = None,
    ) -> Applied:
        """What the shard read after a gap, by default for the first session."""
        kind: Any = "msg" if event == "MESSAGE_CREATE" else "audit"
        return self.add(
            DiscordDispatch(
                session=session,  # type: ignore[arg-type]
                shard=0,
                sequence=sequence,
                event=event,
                catch_up=True,
                data=msgspec.Raw(msgspec.json.encode(data)),
            ),
            catch_up_id(kind, str(data.get("id"))) if message_id is None else message_id,
        )

    def post(self, content: str = "hello", **more: Any) -> Applied:
        """A member posts; the log's clock follows the message's."""
        data = message(content, guild=self.guild, **{"number": self.sequence + 1, **more})
        self.now = max(self.now, more.get("at", T0))
        return self.dispatch("MESSAGE_CREATE", data)

    def edit(self, data: dict[str, Any], **changes: Any) -> Applied:
        """The whole message again, changed."""
        return self.dispatch("MESSAGE_UPDATE", {**data, **changes})

    def put_settings(
        self, document: Any, *, request: str | None = None, actor: Actor = OPERATOR, **more: Any
    ) -> Applied:
        body = {"actor": {"kind": "operator", "id": "ops"}, "settings": document, **more}
        return self.command("settings.put", body, request=request, actor=actor)

    def command(
        self, verb: str, body: Any, *, request: str | None = None, actor: Actor = OPERATOR
    ) -> Applied:
        return self.add(
            CommandReceived(
                request_id=RequestId(request or f"r{self.sequence}"),
                verb=verb,
                actor=actor,
                arguments=msgspec.Raw(msgspec.json.encode(body)),
            )
        )

    def interact(self, data: Any, **more: Any) -> Applied:
        return self.add(
            InteractionReceived(
                via="gateway",
                answer_to="modbot.answers.shard.a.1",
                data=msgspec.Raw(msgspec.json.encode(data)),
                **more,
            )
        )

    def settle(
        self,
        effect: Effect,
        outcome: Any = "done",
        *,
        code: int = 0,
        words: str = "",
        under: str | None = None,
        **data: str,
    ) -> Applied:
        """The result of an effect; ``under`` another id than its own."""
        error = EffectError(status=400, code=code, message=words) if code or words else None
        return self.add(
            EffectResult(
                sequence=effect.sequence,
                index=effect.index,
                outcome=outcome,
                data=data,
                error=error,
            ),
            under or effect_result_id(self.guild, effect.sequence, effect.index),
        )

    def fire(self, timer: str, armed_by: Sequence) -> Applied:
        return self.add(
            TimerFired(timer=timer, armed_by=armed_by), timer_id(self.guild, timer, armed_by)
        )

    def publish(self, sequence: int, index: int) -> Applied:
        return self.add(FactsPublished(sequence=Sequence(sequence), index=index))

    def signal(self, user: str, source: str = "7777") -> Applied:
        return self.add(
            GuildSignal(
                source=source,  # type: ignore[arg-type]
                source_name="Bakers",
                source_sequence=Sequence(5),
                user=user,  # type: ignore[arg-type]
                username="spam_mer",
                guilds=3,
            )
        )

    def skip(self, item: LoggedInput, reason: str = "it kills") -> Applied:
        """Skip the item as a word further down the log says."""
        word = SkipInput(sequence=item.sequence, reason=reason, actor=OPERATOR)
        return self.engine.skip(item, word)

    def pending(self, kind: str | None = None) -> list[Effect]:
        """Effects without a result, of one kind."""
        return [
            effect
            for effect in self.engine.pending_effects(self.guild)
            if kind is None or effect.kind == kind
        ]

    def read(self, request: Request) -> Message:
        return self.engine.read(self.guild, request, pod=PodId("p"), epoch=Epoch(1))

    def case(self, number: int) -> CaseView:
        view = self.read(GetCase(number=number))  # type: ignore[arg-type]
        assert isinstance(view, CaseView)
        return view

    def cases(self) -> list[CaseView]:
        """All cases, newest first."""
        listed = self.read(ListCases(limit=200))
        return listed.cases  # type: ignore[attr-defined, no-any-return]

    def status(self) -> GuildStatus:
        view = self.read(GetGuildStatus())
        assert isinstance(view, GuildStatus)
        return view

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.database.execute(query).fetchall()

    def dump(self) -> bytes:
        return canonical_dump(self.database, self.guild)


def payloads(applied: Applied) -> list[AnyPayload]:
    """What an input asked for."""
    return [payload_of(effect.kind, effect.payload) for effect in applied.effects]


def kinds(applied: Applied) -> list[str]:
    """The kinds of what an input asked for."""
    return [effect.kind for effect in applied.effects]


def facts(applied: Applied) -> list[Fact]:
    """The facts that an input stated."""
    return [decode(fact.data, FACT_OF_TYPE[fact.type]) for fact in applied.facts]


def signals(applied: Applied) -> dict[str, int]:
    """The signals of an input's verdict; empty without one."""
    for fact in facts(applied):
        if fact.type == "message.flagged":
            return {signal.name: signal.points for signal in fact.signals}  # type: ignore[attr-defined]
    return {}


def tier(applied: Applied) -> str | None:
    """The tier of an input's verdict."""
    for fact in facts(applied):
        if fact.type == "message.flagged":
            return fact.tier  # type: ignore[attr-defined, no-any-return]
    return None
