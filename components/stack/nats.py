"""How nats-server is started, one or a cluster: commands, environment, configuration files.

Keys and streams that exist are kept, so a second start continues with the data.
Raises `OtherNodes` when the data belongs to another number of servers.
"""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import msgspec

from components import binaries
from components.stack import keys
from components.stack.errors import OtherNodes
from contracts import accounts

NODES = "nodes"
"""File: how many servers the streams are kept by."""
CONTEXT = "modbot"
ROUTE_PASSWORD = "route-password"  # noqa: S105 - the name of its file


class NodePorts(msgspec.Struct, frozen=True, kw_only=True):
    """Where a node of a cluster listens: for clients, for its peers, for questions of health."""

    client: int
    route: int
    monitor: int


class NatsServer(msgspec.Struct, frozen=True, kw_only=True):
    """A nats-server of the stack. ``seeds`` are the bus users' nkey seeds."""

    name: str
    port: int
    monitor: int = 0
    """Port of its ``/healthz``; 0 for a server that stands alone."""
    command: list[str]
    environment: dict[str, str]
    url: str
    seeds: dict[str, str]


def prepare(folder: Path, port: int, *, name: str = "nats", host: str = "127.0.0.1") -> NatsServer:
    """Write the configuration and keys below ``folder`` and say how to start the server.

    Streams are kept in ``<folder>/store``, so a second start continues with them.
    """
    seeds = _shared(folder, 1)
    command = [str(binaries.find("nats-server")), "-c", str(folder / "server.conf")]
    command += ["-n", name, "-a", host, "-p", str(port), "-sd", str(folder / "store")]
    return NatsServer(
        name=name,
        port=port,
        command=command,
        environment=keys.server_environment(seeds),
        url=f"nats://{host}:{port}",
        seeds=seeds,
    )


def prepare_cluster(
    folder: Path, ports: Sequence[NodePorts], *, host: str = "127.0.0.1"
) -> list[NatsServer]:
    """The same for a cluster: ``nats-0`` and so on, each with ``<folder>/<name>/`` as its store.

    They find each other by routes, which a password of the installation opens.
    """
    seeds = _shared(folder, len(ports))
    password = _route_password(folder)
    found = []
    for number, of_node in enumerate(ports):
        name = f"nats-{number}"
        peers = [peer.route for peer in ports if peer is not of_node]
        _keep_secret(folder / f"{name}.conf", cluster_conf(host, of_node.route, peers, password))
        command = [str(binaries.find("nats-server")), "-c", str(folder / f"{name}.conf")]
        command += ["-n", name, "-a", host, "-p", str(of_node.client)]
        command += ["-m", str(of_node.monitor), "-sd", str(folder / name)]
        found.append(
            NatsServer(
                name=name,
                port=of_node.client,
                monitor=of_node.monitor,
                command=command,
                environment=keys.server_environment(seeds),
                url=f"nats://{host}:{of_node.client}",
                seeds=seeds,
            )
        )
    return found


def cluster_conf(host: str, port: int, peers: Sequence[int], password: str) -> str:
    """A node's configuration: what every server has, and its place in the cluster."""
    routes = ", ".join(f'"nats-route://route:{password}@{host}:{peer}"' for peer in peers)
    return "\n".join(
        [
            'include "server.conf"',
            "cluster {",
            "  name: modbot",
            f'  listen: "{host}:{port}"',
            f'  authorization {{user: route, password: "{password}", timeout: 2}}',
            f"  routes: [{routes}]",
            "}",
            "",
        ]
    )


def write_context(config: Path, url: str, seed_file: Path) -> None:
    """Make the operator's context for the ``nats`` command: with ``XDG_CONFIG_HOME`` set to
    ``config`` it connects without a further word. It names the seed's file, not the seed."""
    contexts = config / "nats" / "context"
    contexts.mkdir(parents=True, exist_ok=True, mode=0o700)
    context = {
        "description": "modbot's bus, as its operator",
        "url": url,
        "nkey": str(seed_file),
        "inbox_prefix": accounts.inbox_prefix("operator"),
    }
    (contexts / f"{CONTEXT}.json").write_bytes(msgspec.json.format(msgspec.json.encode(context)))
    (config / "nats" / "context.txt").write_text(CONTEXT, encoding="ascii")  # the selected one


def _shared(folder: Path, nodes: int) -> dict[str, str]:
    """What all servers have in common; returns the seeds."""
    folder.mkdir(parents=True, exist_ok=True)
    _bind(folder, nodes)
    (folder / "server.conf").write_text(accounts.server_conf(), encoding="utf-8")
    (folder / "accounts.conf").write_text(accounts.accounts_conf(), encoding="utf-8")
    return keys.user_keys(folder / "keys")


def _bind(folder: Path, nodes: int) -> None:
    """Bind the data to the number of servers. A server that joins a cluster removes the streams
    it had alone, and one that leaves it may not have the latest messages."""
    mark = folder / NODES
    if not mark.exists():
        alone = (folder / "store").exists()  # made before the mark was
        mark.write_text(str(1 if alone else nodes), encoding="ascii")
    kept = int(mark.read_text(encoding="ascii"))
    if kept != nodes:
        raise OtherNodes(
            f"the streams in {folder} are kept by {_servers(kept)}, not by {_servers(nodes)}: "
            f"say --nats {kept}, name another folder with --home, or give them up with --reset"
        )


def _servers(count: int) -> str:
    return "one nats-server" if count == 1 else f"{count} of them"


def _route_password(folder: Path) -> str:
    path = folder / "keys" / ROUTE_PASSWORD
    if not path.exists():
        _keep_secret(path, secrets.token_hex(20))
    return path.read_text(encoding="ascii")


def _keep_secret(path: Path, text: str) -> None:
    beside = path.with_name(f"{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
    beside.replace(path)
