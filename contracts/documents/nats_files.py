"""The files in ``infra/nats``: server configuration, streams, contexts of the nats command.

They are what ``modbot up`` and the tests run with, as files for a server that someone else starts.
"""

import json
from typing import Any

from contracts import accounts, storage

KEYS = "~/.config/modbot/keys"
"""Where the contexts look for seeds; the files hold the path, never a seed."""


def nats_files() -> dict[str, str]:
    """Path below ``infra/nats`` to content."""
    files = {"server.conf": accounts.server_conf(), "accounts.conf": accounts.accounts_conf()}
    for stream in storage.streams():
        files[f"streams/{stream['name']}.json"] = as_text(stream)
    for user in accounts.USERS:
        files[f"contexts/modbot-{user.name}.json"] = as_text(_context(user))
    files["README.md"] = _readme()
    return files


def as_text(document: dict[str, Any]) -> str:
    """JSON as it is committed: readable, the same on every machine."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _context(user: accounts.BusUser) -> dict[str, Any]:
    return {
        "description": f"modbot: {user.purpose}",
        "url": "nats://127.0.0.1:4222",
        "nkey": f"{KEYS}/{user.name}.nk",
        "inbox_prefix": accounts.inbox_prefix(user.name),
    }


def _readme() -> str:
    users = "\n".join(
        f"| `{user.name}` | {user.purpose} | `{accounts.nkey_variable(user.name)}` |"
        for user in accounts.USERS
    )
    streams = "\n".join(
        f"| `{stream['name']}` | {stream['description']} |" for stream in storage.streams()
    )
    return README.format(users=users, streams=streams, keys=KEYS)


README = """\
# The bus as files

Generated from `contracts` by `python -m contracts.generate`; do not edit. `make up` starts a
server with exactly this; the files are for a server that you run yourself and for the `nats`
command.

| file | is |
|---|---|
| `server.conf`, `accounts.conf` | nats-server's configuration; the second holds who may say what |
| `streams/*.json` | every stream and bucket (`KV_*`) as the server's API takes it |
| `contexts/*.json` | one context of the `nats` command for each bus user |

## Start a server

Each bus user has an nkey: the server gets the public key from its environment, the component the
seed. No file here holds either.

| user | does | public key in the server's environment |
|---|---|---|
{users}

Make a key with `nk -gen user > NAME.nk`, show its public half with `nk -inkey NAME.nk -pubout`.

    nats-server -c server.conf -n modbot -a 0.0.0.0 -p 4222 -sd /var/lib/nats

The server refuses to start while one of the variables is unset.

## Create the streams

Components expect them. `make up` creates them; elsewhere, as the user `provisioner`:

    for file in streams/*.json; do
      nats --context modbot-provisioner stream add --config "$file"
    done

| stream | holds |
|---|---|
{streams}

INPUTS refuses new messages when it is full, rather than lose old ones: `modbot status` raises an
alarm before (`stream-full`). More room, which later starts leave as it is:

    nats --context modbot-provisioner stream edit INPUTS --max-bytes 8GiB

## A cluster

In a cluster set `num_replicas` to 3 in each (`modbot provision --replicas 3` does; also later,
while they are in use). A node of a cluster needs a `cluster` section beside this configuration:
name, routes and a password for them. A server that stood alone cannot be made a node with its data:
it would remove the streams.

After `kill -9` of the node that leads a stream, nobody can write to that stream for 4 to 9 s.
Leases must outlast that (docs/decisions/0006): give the components

    MODBOT_GATEWAY_LEASE_TTL_S=12 MODBOT_GATEWAY_LEADER_TTL_S=12
    MODBOT_SHARD_LEASE_TTL_S=12
    MODBOT_CONFIG_POD_TTL_S=12 MODBOT_CONFIG_SHARD_TTL_S=12 MODBOT_CONFIG_LEADER_TTL_S=12

and `MODBOT_NATS_URL` with the addresses of all nodes, separated by commas. `modbot up --nats 3`
sets all of it. `modbot status` shows the nodes, what each leads and where one is behind.

## Look at it

Put the contexts where the `nats` command finds them, and the seeds into `{keys}`:

    mkdir -p ~/.config/nats/context && cp contexts/*.json ~/.config/nats/context/
    nats --context modbot-operator sub 'modbot.live.*'
    nats --context modbot-operator req modbot.config.status ''
    nats --context modbot-operator req modbot.rpc.GUILD.status '{{}}'
    nats --context modbot-operator stream view EVENTS
    nats --context modbot-operator kv get guilds GUILD
    nats --context modbot-operator kv watch pods
    nats --context modbot-operator micro ls

`make tools` builds the command. `make up` writes a context for its own bus and prints how to use
it: `XDG_CONFIG_HOME=.modbot/config nats stream ls`.
"""
