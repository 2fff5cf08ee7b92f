"""Every message on the bus: where it travels, who sends it, who receives it, with which headers.

The schemas, the AsyncAPI document and the check of permissions are all made from `CHANNELS`; a
type of `contracts` that is neither here nor part of something here fails a test.
"""

from typing import Final

import msgspec

from contracts import errors, facts, headers, inputs, interactions, operations, records, requests
from contracts import storage as kept

SHARD: Final = "shard"
GATEWAY: Final = "gateway"
CONFIG: Final = "config"
EDGE: Final = "edge"
OPERATOR: Final = "operator"
PARENT: Final = "parent"

REQUIRED: Final = True
OPTIONAL: Final = False

INPUT_HEADERS: Final = {headers.MSG_ID: REQUIRED, headers.TRACEPARENT: REQUIRED}
LIVE_HEADERS: Final = {
    **INPUT_HEADERS,
    headers.SUBJECT: REQUIRED,
    headers.SEQUENCE: REQUIRED,
    headers.LAST_SEQUENCE: REQUIRED,
    headers.TIME_STAMP: REQUIRED,
}
FACT_HEADERS: Final = {
    headers.CE_ID: REQUIRED,
    headers.CE_SOURCE: REQUIRED,
    headers.CE_SPECVERSION: REQUIRED,
    headers.CE_TYPE: REQUIRED,
    headers.CE_TIME: REQUIRED,
    headers.CE_DATACONTENTTYPE: REQUIRED,
    headers.CE_SUBJECT: OPTIONAL,
    headers.MSG_ID: REQUIRED,
    headers.INPUT_SEQUENCE: REQUIRED,
    headers.INPUT_INDEX: REQUIRED,
    headers.EPOCH: REQUIRED,
    headers.EXPECTED_LAST_SUBJECT_SEQUENCE: REQUIRED,
    headers.EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT: REQUIRED,
    headers.TRACEPARENT: REQUIRED,
}
READ_HEADERS: Final = {
    headers.TRACEPARENT: OPTIONAL,  # a person with the nats command has none
    headers.MIN_APPLIED: OPTIONAL,
    headers.DEADLINE_MS: OPTIONAL,
}
WRITE_HEADERS: Final = {**READ_HEADERS, headers.REQUEST_ID: REQUIRED}
OWNER_REPLY_HEADERS: Final = {headers.EPOCH: REQUIRED, headers.APPLIED: REQUIRED}
ERROR_HEADERS: Final = {
    headers.SERVICE_ERROR: REQUIRED,
    headers.SERVICE_ERROR_CODE: REQUIRED,
    headers.EPOCH: OPTIONAL,
    headers.APPLIED: OPTIONAL,
}
TRACED: Final = {headers.TRACEPARENT: OPTIONAL}
RECORD_HEADERS: Final = {headers.EXPECTED_LAST_SUBJECT_SEQUENCE: OPTIONAL}
LEASE_HEADERS: Final = {**RECORD_HEADERS, headers.TTL: OPTIONAL}


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """One type of message on a channel, by whom, with which headers (required or not)."""

    type: type[msgspec.Struct]
    senders: tuple[str, ...]
    headers: dict[str, bool]


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A subject, or a family of subjects: each ``{name}`` in the address is one token."""

    name: str
    address: str
    purpose: str
    sent: tuple[Sent, ...] = ()
    senders: tuple[str, ...] = ()
    """Who sends, where that is not said per message; empty when the server itself does."""
    receivers: tuple[str, ...]
    stream: str = ""
    """Where the messages are kept. Receivers read this stream; without one they subscribe."""
    reply: Sent | None = None
    """The answer to a request; `errors.ErrorBody` instead when it is refused."""
    takes_errors: bool = False

    def all_senders(self) -> tuple[str, ...]:
        """Every bus user that publishes here."""
        named = {*self.senders, *(user for sent in self.sent for user in sent.senders)}
        return tuple(sorted(named))


def _inputs() -> tuple[Sent, ...]:
    senders: dict[type[inputs.Input], tuple[str, ...]] = {
        inputs.DiscordDispatch: (SHARD,),
        inputs.InteractionReceived: (SHARD, EDGE),
    }
    own: tuple[type[inputs.Input], ...] = (
        inputs.CommandReceived,
        inputs.TimerFired,
        inputs.EffectResult,
        inputs.FactsPublished,
        inputs.OwnerOpened,
        inputs.SkipInput,
        inputs.GuildSignal,
    )
    senders.update(dict.fromkeys(own, (GATEWAY,)))
    return tuple(Sent(type=kind, senders=by, headers=INPUT_HEADERS) for kind, by in senders.items())


def _logs() -> tuple[Channel, ...]:
    sent = _inputs()
    return (
        Channel(
            name="inputs",
            address="modbot.in.{guild}",
            purpose="The log of a guild: everything that changes its state, in one order. Config "
            "reads only where a log begins and ends.",
            sent=sent,
            receivers=(GATEWAY, CONFIG, OPERATOR),
            stream=kept.INPUTS,
        ),
        Channel(
            name="live",
            address="modbot.live.{guild}",
            purpose="The log as the server republishes it at once; may miss messages, which the "
            "previous sequence in the headers shows.",
            sent=tuple(Sent(type=one.type, senders=(), headers=LIVE_HEADERS) for one in sent),
            receivers=(GATEWAY, OPERATOR),
        ),
    )


def _events() -> tuple[Channel, ...]:
    return tuple(
        Channel(
            name=f"events.{fact.type}",
            address=f"modbot.events.{{guild}}.{fact.type}",
            purpose="A fact of a guild, in order over all its facts, exactly once. An owner reads "
            "the last one when a publish is refused.",
            sent=(Sent(type=fact, senders=(GATEWAY,), headers=FACT_HEADERS),),
            receivers=(GATEWAY, EDGE, OPERATOR),
            stream=kept.EVENTS,
        )
        for fact in facts.FACTS
    )


READ_BY_EDGE: Final = (requests.GetCase, requests.ListCases, requests.GetSettings)
REPLY_OF: Final[dict[type[requests.Request], type[msgspec.Struct]]] = {
    requests.GetCase: requests.CaseView,
    requests.ListCases: requests.CaseList,
    requests.GetSettings: requests.SettingsView,
    requests.PutSettings: requests.SettingsView,
    requests.GetGuildStatus: requests.GuildStatus,
    requests.ListQuarantine: requests.QuarantineList,
    requests.SkipParkedInput: requests.GuildStatus,
    requests.TakeSnapshot: requests.SnapshotTaken,
    requests.GetDigest: requests.GuildDigest,
    requests.BeginRestore: requests.RestoreView,
    requests.PutRestorePiece: requests.RestoreView,
    requests.CloseRestore: requests.RestoreView,
    requests.UndoRestore: requests.RestoreView,
}


def _who_asks(request: type[requests.Request]) -> tuple[str, ...]:
    if request is requests.TakeSnapshot:
        return (GATEWAY, OPERATOR)  # the owner checks who may have it
    return (EDGE, OPERATOR) if request in READ_BY_EDGE else (OPERATOR,)


def _requests() -> tuple[Channel, ...]:
    return tuple(
        Channel(
            name=f"rpc.{request.verb}",
            address=f"modbot.rpc.{{guild}}.{request.verb}",
            purpose="A request to the guild's owner. Nobody answers while it has none.",
            sent=(
                Sent(
                    type=request,
                    senders=_who_asks(request),
                    headers=WRITE_HEADERS if request.writes else READ_HEADERS,
                ),
            ),
            receivers=(GATEWAY,),
            reply=Sent(type=REPLY_OF[request], senders=(GATEWAY,), headers=OWNER_REPLY_HEADERS),
            takes_errors=True,
        )
        for request in requests.REQUESTS
    )


def _answers() -> tuple[Channel, ...]:
    return tuple(
        Channel(
            name=f"answers.{component}",
            address=f"modbot.answers.{component}.{{replica}}.{{interaction}}",
            purpose="The owner's answer to an interaction, to the first responder that waits.",
            sent=(Sent(type=interactions.InteractionAnswer, senders=(GATEWAY,), headers=TRACED),),
            receivers=(component,),
            reply=Sent(type=interactions.AnswerTaken, senders=(component,), headers=TRACED),
        )
        for component in (SHARD, EDGE)
    )


CONFIG_ENDPOINTS: Final[
    tuple[tuple[str, str, type[msgspec.Struct] | None, type[msgspec.Struct]], ...]
] = (
    (
        "status",
        "Pods, backups, what is under way, which guilds wait and why.",
        None,
        operations.ClusterStatus,
    ),
    ("pods", "Every pod.", None, operations.PodList),
    ("guild", "One guild: where it is and why.", operations.GuildQuery, operations.GuildPlacement),
    ("guilds", "Guilds by id, a page at a time.", operations.GuildsQuery, operations.GuildList),
    (
        "plan",
        "What a rebalance would move now, why, what prevents more.",
        None,
        operations.BalanceReport,
    ),
    (
        "rebalance",
        "Spread guilds evenly now.",
        operations.Rebalance,
        operations.OperationStarted,
    ),
    (
        "drain",
        "Move everything off a pod and keep it empty.",
        operations.DrainPod,
        operations.OperationStarted,
    ),
    (
        "undrain",
        "Let a pod take guilds again.",
        operations.DrainPod,
        operations.OperationStarted,
    ),
    (
        "move",
        "Let a pod own these guilds.",
        operations.MoveGuilds,
        operations.OperationStarted,
    ),
    (
        "pin",
        "Move a guild to a pod and keep it there.",
        operations.PinGuild,
        operations.OperationStarted,
    ),
    ("unpin", "Let a guild be moved again.", operations.UnpinGuild, operations.OperationStarted),
    (
        "reshard",
        "Change the number of Discord's shards.",
        operations.Reshard,
        operations.OperationStarted,
    ),
    (
        "pause",
        "Move nothing by itself; crashes are answered all the same.",
        operations.PauseBalance,
        operations.OperationStarted,
    ),
    (
        "resume",
        "Spread guilds evenly again by itself.",
        operations.PauseBalance,
        operations.OperationStarted,
    ),
    (
        "history",
        "Changes of ownership, newest first.",
        operations.HistoryQuery,
        operations.History,
    ),
)
"""Name, purpose, request (None: empty), reply: of the service ``modbot-config``. A purpose has at
most 60 characters: `nats micro info` shortens what is longer."""


def _endpoint(
    name: str, purpose: str, request: type[msgspec.Struct] | None, reply: type[msgspec.Struct]
) -> Channel:
    sent = () if request is None else (Sent(type=request, senders=(OPERATOR,), headers=TRACED),)
    return Channel(
        name=f"config.{name}",
        address=f"modbot.config.{name}",
        purpose=purpose,
        sent=sent,
        senders=(OPERATOR,) if request is None else (),
        receivers=(CONFIG,),
        reply=Sent(type=reply, senders=(CONFIG,), headers=TRACED),
        takes_errors=True,
    )


def _operations() -> tuple[Channel, ...]:
    return (
        *(_endpoint(*endpoint) for endpoint in CONFIG_ENDPOINTS),
        Channel(
            name="config.progress",
            address="modbot.progress.{operation}",
            purpose="How far a long operation has come, for whoever watches, and for the answers "
            "of replicas that do not lead.",
            sent=(Sent(type=operations.OperationProgress, senders=(CONFIG,), headers=TRACED),),
            receivers=(OPERATOR, CONFIG),
        ),
        Channel(
            name="pods.snapshot",
            address="modbot.pods.{pod}.snapshot.{guild}",
            purpose="A pod that is named for a guild asks another one that may have its rows: the "
            "owner has none, or there is no owner.",
            sent=(Sent(type=requests.TakeSnapshot, senders=(GATEWAY,), headers=TRACED),),
            receivers=(GATEWAY,),
            reply=Sent(type=requests.SnapshotTaken, senders=(GATEWAY,), headers=TRACED),
            takes_errors=True,
        ),
        Channel(
            name="pods.released",
            address="modbot.pods.{pod}.released",
            purpose="What an owner that lets go of a guild writes into bucket handoffs, told to "
            "the next owner directly, so that it need not wait for the bucket.",
            sent=(Sent(type=records.Released, senders=(GATEWAY,), headers=TRACED),),
            receivers=(GATEWAY,),
        ),
        Channel(
            name="pods.ping",
            address="modbot.pods.{pod}.ping",
            purpose="Whether a suspected pod is there. Nobody answers when its connection is gone.",
            sent=(Sent(type=records.PodPing, senders=(CONFIG,), headers=TRACED),),
            receivers=(GATEWAY,),
            reply=Sent(type=records.PodPing, senders=(GATEWAY,), headers=TRACED),
        ),
        Channel(
            name="shards.budget",
            address="modbot.shards.budget",
            purpose="How many sessions Discord grants today, as any shard replica asks it.",
            senders=(CONFIG,),
            receivers=(SHARD,),
            reply=Sent(type=operations.SessionBudget, senders=(SHARD,), headers=TRACED),
        ),
        Channel(
            name="disconnects",
            address="sys.disconnect",
            purpose="The server's advisory of a lost connection (io.nats.server.advisory.v1."
            "client_disconnect), imported from its system account.",
            receivers=(CONFIG,),
        ),
    )


def _record(
    bucket: str,
    key: str,
    value: type[msgspec.Struct],
    writers: tuple[str, ...],
    *readers: str,
    part: str = "",
) -> Channel:
    expires = next(b.expires for b in kept.BUCKETS if b.name == bucket)
    return Channel(
        name=f"kv.{bucket}{part}",
        address=f"$KV.{bucket}.{key}",
        purpose=next(b.description for b in kept.BUCKETS if b.name == bucket),
        sent=(
            Sent(type=value, senders=writers, headers=LEASE_HEADERS if expires else RECORD_HEADERS),
        ),
        receivers=(*readers, OPERATOR),
        stream=f"KV_{bucket}",
    )


def _records() -> tuple[Channel, ...]:
    return (
        _record(kept.PODS, "{pod}", records.PodLease, (GATEWAY, CONFIG), GATEWAY, CONFIG),
        _record(kept.GUILDS, "{guild}", records.Assignment, (CONFIG, GATEWAY), GATEWAY, CONFIG),
        _record(kept.REGISTRY, "{guild}", records.RegisteredGuild, (SHARD,), SHARD, CONFIG),
        _record(kept.LEADERS, "{role}", records.LeaderLease, (CONFIG,), CONFIG, GATEWAY),
        _record(kept.SHARDS, "{shard}", records.ShardLease, (SHARD,), SHARD, CONFIG),
        _record(
            kept.SHARDS,
            kept.SHARD_PLAN,
            records.ShardPlan,
            (CONFIG, SHARD),
            SHARD,
            CONFIG,
            part=".plan",
        ),
        _record(
            kept.SHARDS,
            "{what}.{name}",
            records.ShardReplica,
            (SHARD,),
            SHARD,
            CONFIG,
            part=".replicas",
        ),
        _record(kept.SESSIONS, "{shard}", records.SessionResume, (SHARD,), SHARD, CONFIG),
        _record(kept.ATTEMPTS, "{guild}", records.ReplayAttempt, (GATEWAY,), GATEWAY),
        _record(kept.SIGNALS, "{about}.{id}", records.SharedSignal, (GATEWAY,), GATEWAY),
        *_handoffs(),
        _record(
            kept.ENDS, "{pod}.{process}", records.ProcessEnd, (PARENT,), PARENT, GATEWAY, CONFIG
        ),
        _record(kept.LOADS, "{pod}", records.PodLoads, (GATEWAY,), CONFIG),
        *_intents(),
        _record(
            kept.SHARES,
            "{limit}",
            records.RestShares,
            (CONFIG, GATEWAY, SHARD),
            GATEWAY,
            CONFIG,
            SHARD,
        ),
    )


def _handoffs() -> tuple[Channel, ...]:
    def handoff(key: str, value: type[msgspec.Struct], part: str) -> Channel:
        return _record(kept.HANDOFFS, key, value, (GATEWAY,), GATEWAY, CONFIG, part=part)

    return (
        handoff("released.{guild}", records.Released, ".released"),
        handoff("silent.{guild}", records.Silent, ".silent"),
        handoff("holds.{guild}.{pod}", records.Holding, ".holds"),
    )


def _intents() -> tuple[Channel, ...]:
    def intent(key: str, value: type[msgspec.Struct], part: str) -> Channel:
        return _record(kept.INTENT, key, value, (CONFIG,), CONFIG, part=part)

    return (
        intent("pod.{pod}", records.PodIntent, ".pod"),
        intent("guild.{guild}", records.GuildIntent, ".guild"),
        intent("balance", records.BalanceIntent, ".balance"),
        intent("move.{guild}", records.MoveIntent, ".move"),
        intent("rebalance", records.RebalanceIntent, ".rebalance"),
    )


CHANNELS: Final = (
    *_logs(),
    *_events(),
    *_requests(),
    *_answers(),
    *_operations(),
    *_records(),
)
READ_FROM_DISCORD: Final = (interactions.InteractionHead,)
"""Views of Discord's own JSON: they never travel by themselves."""


def messages() -> tuple[type[msgspec.Struct], ...]:
    """Every type that travels by itself, each once, by name."""
    found: set[type[msgspec.Struct]] = {errors.ErrorBody}
    for channel in CHANNELS:
        found.update(sent.type for sent in channel.sent)
        if channel.reply is not None:
            found.add(channel.reply.type)
    return tuple(sorted(found, key=lambda message: message.__name__))


def parts_of(message: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    """The type and every struct inside it."""
    found: set[type[msgspec.Struct]] = set()
    _collect(msgspec.inspect.type_info(message), found)
    return found


def version_of(message: type[msgspec.Struct]) -> int:
    """The message's version: 1, unless the type says otherwise."""
    version: int = getattr(message, "version", 1)
    return version if isinstance(version, int) else 1


def file_name(message: type[msgspec.Struct]) -> str:
    """Name of the message's schema and sample, e.g. ``case-opened.v1.json``."""
    words = "".join(f"-{c.lower()}" if c.isupper() else c for c in message.__name__).lstrip("-")
    return f"{words}.v{version_of(message)}.json"


def _collect(info: object, found: set[type[msgspec.Struct]]) -> None:
    if isinstance(info, msgspec.inspect.StructType):
        if info.cls in found:
            return
        found.add(info.cls)
        for field in info.fields:
            _collect(field.type, found)
    elif isinstance(info, msgspec.inspect.UnionType):
        for one in info.types:
            _collect(one, found)
    elif isinstance(info, msgspec.inspect.CollectionType):
        _collect(info.item_type, found)
    elif isinstance(info, msgspec.inspect.DictType):
        _collect(info.key_type, found)
        _collect(info.value_type, found)
    elif isinstance(info, msgspec.inspect.TupleType):
        for one in info.item_types:
            _collect(one, found)
