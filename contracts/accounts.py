"""Who may say what on the bus: one table, from which the server's accounts file is generated.

Every component is a NATS user of its own (an nkey), with its own lists of subjects that it may
publish and subscribe to and its own inbox prefix: a subscriber on ``_INBOX.>`` would read
everyone's replies. The public keys come from the environment of the server process
(`nkey_variable`), so the generated file holds no key.
"""

from typing import Final

import msgspec

from contracts import storage, subjects


class BusUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user's permissions; ``_INBOX_<name>.>`` is added to what it may hear."""

    name: str
    purpose: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    answers: bool = False
    """May reply to requests that it receives."""


def inbox_prefix(user: str) -> str:
    """The inbox prefix that the user's connections must be given."""
    return f"_INBOX_{user}"


def nkey_variable(user: str) -> str:
    """Environment variable of nats-server that holds the user's public nkey."""
    return f"MODBOT_NKEY_{user.upper()}"


def _kv_read(*buckets: str) -> tuple[str, ...]:
    return tuple(
        subject
        for bucket in buckets
        for subject in (*_stream_read(f"KV_{bucket}"), *_consume(f"KV_{bucket}"))
    )


def _kv_write(*buckets: str) -> tuple[str, ...]:
    return tuple(f"$KV.{bucket}.>" for bucket in buckets)


def _consume(stream: str) -> tuple[str, ...]:
    return (
        f"$JS.API.CONSUMER.CREATE.{stream}",
        f"$JS.API.CONSUMER.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.DELETE.{stream}.>",
        f"$JS.API.CONSUMER.INFO.{stream}.>",
        f"$JS.FC.{stream}.>",
    )


def _stream_read(stream: str) -> tuple[str, ...]:
    return (
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.API.STREAM.MSG.GET.{stream}",
        f"$JS.API.DIRECT.GET.{stream}",
        f"$JS.API.DIRECT.GET.{stream}.>",
    )


USERS: Final = (
    BusUser(
        name="provisioner",
        purpose="creates streams and buckets when the installation starts",
        publish=("$JS.API.STREAM.>", "$JS.API.INFO"),
        subscribe=(),
    ),
    BusUser(
        name="shard",
        purpose="appends Discord's dispatches; keeps shard leases, resume data, the registry",
        publish=(
            subjects.INPUTS_WILDCARD,
            *_kv_read(storage.SHARDS, storage.SESSIONS, storage.REGISTRY, storage.SHARES),
            *_kv_write(storage.SHARDS, storage.SESSIONS, storage.REGISTRY),
            # a replica enters itself into the division of the rate limit, by compare-and-set
            *_kv_write(storage.SHARES),
        ),
        subscribe=("modbot.answers.shard.>", subjects.SHARD_BUDGET),
        answers=True,
    ),
    BusUser(
        name="gateway",
        purpose="owns guilds: reads and appends to their logs, publishes facts, answers requests",
        publish=(
            subjects.INPUTS_WILDCARD,
            subjects.EVENTS_WILDCARD,
            "modbot.answers.>",
            "modbot.rpc.*.snapshot.take",
            subjects.POD_SNAPSHOTS_WILDCARD,
            subjects.POD_RELEASED_WILDCARD,
            *_stream_read(storage.INPUTS),
            *_stream_read(storage.EVENTS),
            *_kv_read(storage.PODS, storage.GUILDS, storage.ATTEMPTS, storage.SIGNALS),
            *_kv_read(storage.LEADERS, storage.HANDOFFS, storage.ENDS, storage.SHARES),
            *_kv_write(storage.PODS, storage.ATTEMPTS, storage.SIGNALS),
            *_kv_write(storage.HANDOFFS, storage.LOADS),
            # re-adoption while there is no config leader, by compare-and-set
            *_kv_write(storage.GUILDS),
            # a pod enters itself into the division of the rate limit, by compare-and-set
            *_kv_write(storage.SHARES),
            *_stream_read(f"OBJ_{storage.SNAPSHOTS}"),
            *_consume(f"OBJ_{storage.SNAPSHOTS}"),
            f"$JS.API.STREAM.PURGE.OBJ_{storage.SNAPSHOTS}",
            f"$O.{storage.SNAPSHOTS}.>",
        ),
        subscribe=(
            subjects.LIVE_WILDCARD,
            "modbot.rpc.*.>",
            subjects.PODS_WILDCARD,
            subjects.POD_SNAPSHOTS_WILDCARD,
            subjects.POD_RELEASED_WILDCARD,
        ),
        answers=True,
    ),
    BusUser(
        name="parent",
        purpose="the parent process of a gateway: attests the end of its child, nothing else",
        publish=(
            *_stream_read(f"KV_{storage.ENDS}"),
            *_kv_write(storage.ENDS),
        ),
        subscribe=(),
    ),
    BusUser(
        name="config",
        purpose="places guilds on pods; operators' service; hears of lost connections",
        publish=(
            *_stream_read(storage.INPUTS),
            *_kv_read(storage.PODS, storage.GUILDS, storage.REGISTRY, storage.LEADERS),
            *_kv_read(storage.HANDOFFS, storage.ENDS, storage.LOADS, storage.INTENT),
            *_kv_read(storage.SHARES, storage.SHARDS, storage.SESSIONS),
            # whether a stream has a leader, its copies and room
            "$JS.API.STREAM.INFO.*",
            *_kv_write(storage.PODS, storage.GUILDS, storage.LEADERS),
            *_kv_write(storage.INTENT, storage.SHARES),
            f"$KV.{storage.SHARDS}.{storage.SHARD_PLAN}",
            subjects.PODS_WILDCARD,
            subjects.SHARD_BUDGET,
            "modbot.progress.*",
        ),
        subscribe=(
            f"{subjects.CONFIG_SERVICE}.>",
            "$SRV.>",
            subjects.DISCONNECTS,
            "modbot.progress.*",
        ),
        answers=True,
    ),
    BusUser(
        name="edge",
        purpose="the outside's way in: reads cases and settings, appends interactions, feeds facts",
        publish=(
            subjects.INPUTS_WILDCARD,
            "modbot.rpc.*.case.get",
            "modbot.rpc.*.case.list",
            "modbot.rpc.*.settings.get",
            f"$JS.API.STREAM.INFO.{storage.EVENTS}",
            *_consume(storage.EVENTS),
            f"$JS.API.CONSUMER.MSG.NEXT.{storage.EVENTS}.>",
        ),
        subscribe=("modbot.answers.edge.>",),
        answers=True,
    ),
    BusUser(
        name="operator",
        purpose="people who run modbot: asks owners and config, reads everything kept on the bus",
        publish=(
            "modbot.rpc.>",
            f"{subjects.CONFIG_SERVICE}.>",
            "$SRV.>",
            "$JS.API.INFO",
            "$JS.API.STREAM.NAMES",
            "$JS.API.STREAM.LIST",
            *_stream_read(storage.INPUTS),
            *_stream_read(storage.EVENTS),
            "$JS.API.CONSUMER.CREATE.>",
            "$JS.API.CONSUMER.DELETE.>",
            "$JS.API.CONSUMER.INFO.>",
            "$JS.API.CONSUMER.LIST.>",
            "$JS.API.CONSUMER.NAMES.>",
            "$JS.API.CONSUMER.MSG.NEXT.>",
            "$JS.ACK.>",
            "$JS.FC.>",
            *_kv_read(*(bucket.name for bucket in storage.BUCKETS)),
            *_stream_read(f"OBJ_{storage.SNAPSHOTS}"),
            # `nats account info`: what the connection itself is allowed
            "$SYS.REQ.USER.INFO",
        ),
        subscribe=("modbot.>", "$SRV.>"),
    ),
)
USER_OF_NAME: Final = {user.name: user for user in USERS}


def accounts_conf() -> str:
    """The accounts section of nats-server's configuration."""
    lines = [
        "# Generated from contracts/accounts.py (python -m contracts.generate); do not edit.",
        "system_account: SYS",
        "accounts {",
        "  SYS {",
        '    exports: [{stream: "$SYS.ACCOUNT.MODBOT.DISCONNECT", accounts: [MODBOT]}]',
        "  }",
        "  MODBOT {",
        "    jetstream: enabled",
        "    imports: [{",
        '      stream: {account: SYS, subject: "$SYS.ACCOUNT.MODBOT.DISCONNECT"}',
        f'      to: "{subjects.DISCONNECTS}"',
        "    }]",
        "    users: [",
    ]
    for user in USERS:
        lines += [
            f"      # {user.purpose}",
            "      {",
            f"        nkey: ${nkey_variable(user.name)}",
        ]
        inbox = f"{inbox_prefix(user.name)}.>"
        lines += ["        permissions {", *_list("publish", user.publish)]
        lines += _list("subscribe", (*user.subscribe, inbox))
        if user.answers:
            lines.append("          allow_responses: true")
        lines += ["        }", "      }"]
    lines += ["    ]", "  }", "}", ""]
    return "\n".join(lines)


def server_conf() -> str:
    """nats-server's configuration; address, store and name are given on its command line."""
    return "\n".join(
        [
            "# Generated from contracts/accounts.py (python -m contracts.generate); do not edit.",
            "# Start: nats-server -c server.conf -n NAME -a HOST -p PORT -sd STORE, with the",
            "# variables MODBOT_NKEY_* (public nkeys of the users) in its environment.",
            "jetstream {",
            "  # An acknowledged input must survive a power failure (docs/decisions, delivery).",
            "  sync_interval: always",
            "}",
            "max_payload: 1MB",
            "# A pod that hangs must not hold the server's memory for long.",
            'write_deadline: "5s"',
            'ping_interval: "10s"',
            "ping_max: 2",
            'include "accounts.conf"',
            "",
        ]
    )


def _list(kind: str, allowed: tuple[str, ...]) -> list[str]:
    return [
        f"          {kind}: [",
        *(f'            "{subject}"' for subject in allowed),
        "          ]",
    ]
