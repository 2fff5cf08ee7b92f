"""The processes of the local stack, as data: `modbot up` supervises them, Tilt shows them.

Pure: nothing is read, written or started here. The order of the list is an order in which the
processes can be started; each names what must be ready before it.
"""

import shlex
import signal
import sys
import sysconfig
from pathlib import Path
from typing import TypeAlias

import msgspec

from components.stack.installation import SIMULATOR_SEED, Installation, metrics_port, replicas
from components.stack.nats import NatsServer
from components.stack.settings import StackSettings
from components.telemetry.metrics import PATH as METRICS_PATH

COMPONENTS = ("simulator", "config", "shard", "gateway", "edge")
HOST = "127.0.0.1"
CLUSTER_TTL_S = 12
"""Of leases in a cluster. After ``kill -9`` of the node that leads their bucket nobody can renew
for 4 to 9 s, until another is elected (nats-server's election timeout, which cannot be set): with
the usual 4 or 5 s every pod and shard would lose its lease with it (docs/decisions/0006)."""


class TcpProbe(msgspec.Struct, frozen=True, kw_only=True, tag="tcp"):
    """Ready when the port accepts a connection."""

    port: int


class HttpProbe(msgspec.Struct, frozen=True, kw_only=True, tag="http"):
    """Ready when the path answers 200."""

    port: int
    path: str


class BusProbe(msgspec.Struct, frozen=True, kw_only=True, tag="bus"):
    """Ready when the bus shows it: a pod's lease, a shard's lease, config's answer."""

    component: str
    replica: str


class DoneProbe(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """A step: ready when it has ended well. It is not started again."""


Probe: TypeAlias = TcpProbe | HttpProbe | BusProbe | DoneProbe


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """An address to open."""

    name: str
    url: str


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One process. ``environment`` is added to the starter's, or is all of it."""

    name: str
    label: str
    """``servers`` or ``modbot``: how Tilt groups it."""
    command: list[str]
    environment: dict[str, str] = {}
    whole_environment: bool = False
    needs: list[str] = []
    probe: Probe
    essential: bool = True
    """When it refuses to run (exit code 78), the rest is stopped too."""
    stop_signal: int = signal.SIGTERM
    death_signal: int = signal.SIGKILL
    """What it gets when its supervisor dies."""
    grace_s: float = 10.0
    pause_s: float = 0.1
    """Before it is started again when it has crashed; doubled each time, up to 5 s."""
    links: list[Link] = []


def processes(settings: StackSettings, installation: Installation) -> list[Process]:
    """The plan. Servers and a Discord that are used from elsewhere are not in it."""
    plan = [*_servers(installation)]
    own = {process.name for process in plan}
    # On servers that run elsewhere streams stay as they are, or as MODBOT_NATS_REPLICAS says.
    nodes = len(installation.nats)
    replicas = {"MODBOT_NATS_REPLICAS": str(min(3, nodes))} if nodes else {}
    streams = Process(
        name="streams",
        label="servers",
        command=modbot("provision"),
        environment=_bus(settings, installation, "streams", "provisioner") | replicas,
        needs=[server.name for server in installation.nats],
        probe=DoneProbe(),
    )
    plan.append(streams)
    if installation.discord.simulated:
        plan.append(_simulator(installation))
        own.add("simulator")
    plan += _configs(settings, installation, own)
    plan += _gateways(settings, installation, own)
    plan += _shards(settings, installation, own)
    plan += _edges(settings, installation)
    return plan


def modbot(*arguments: str) -> list[str]:
    """The command line of ``modbot …`` in this environment."""
    script = Path(sysconfig.get_path("scripts")) / "modbot"
    if script.exists():
        return [str(script), *arguments]
    return [sys.executable, "-m", "components.cli", *arguments]


def shown(process: Process) -> str:
    """The command as one would type it."""
    return shlex.join(process.command)


def _servers(installation: Installation) -> list[Process]:
    found = [
        Process(
            name=server.name,
            label="servers",
            command=server.command,
            environment=server.environment,
            probe=_nats_probe(server),
            # Its leaders of streams are handed over first.
            grace_s=20.0,
        )
        for server in installation.nats
    ]
    if installation.postgres is not None:
        found.append(
            Process(
                name="postgres",
                label="servers",
                command=installation.postgres.command,
                environment=installation.postgres.environment,
                whole_environment=True,
                probe=TcpProbe(port=installation.ports["postgres"]),
                stop_signal=installation.postgres.stop_signal,
                death_signal=signal.SIGQUIT,
            )
        )
    if installation.s3 is not None:
        found.append(
            Process(
                name="s3",
                label="servers",
                command=installation.s3.command,
                environment=installation.s3.environment,
                probe=TcpProbe(port=installation.ports["s3"]),
            )
        )
    return found


def _nats_probe(server: NatsServer) -> Probe:
    """A node of a cluster is ready when its streams have caught up with the others'."""
    if server.monitor:
        return HttpProbe(port=server.monitor, path="/healthz")
    return TcpProbe(port=server.port)


def _simulator(installation: Installation) -> Process:
    port = installation.ports["simulator"]
    discord = installation.discord
    return Process(
        name="simulator",
        label="servers",
        command=modbot("run", "simulator"),
        environment={
            "MODBOT_REPLICA": "simulator",
            "MODBOT_SIM_HOST": HOST,
            "MODBOT_SIM_PORT": str(port),
            "MODBOT_SIM_TOKEN": discord.token,
            "MODBOT_SIM_SEED": str(SIMULATOR_SEED),
            "MODBOT_SIM_APPLICATION_ID": discord.application_id,
        },
        probe=HttpProbe(port=port, path="/control/health"),
        links=[Link(name="simulated Discord", url=f"http://{HOST}:{port}/control/health")],
    )


def _configs(settings: StackSettings, installation: Installation, own: set[str]) -> list[Process]:
    return [
        Process(
            name=name,
            label="modbot",
            command=modbot("run", "config"),
            environment={
                **_bus(settings, installation, name, "config"),
                "MODBOT_CONFIG_DATABASE_URL_FILE": str(installation.files.database_url),
                **_lease_times(
                    installation, "CONFIG_POD_TTL_S", "CONFIG_SHARD_TTL_S", "CONFIG_LEADER_TTL_S"
                ),
            },
            needs=["streams", *_those("postgres", own)],
            probe=BusProbe(component="config", replica=name),
            essential=False,
            links=[_metrics(installation, name)],
        )
        for name in replicas("config", settings.configs)
    ]


def _gateways(settings: StackSettings, installation: Installation, own: set[str]) -> list[Process]:
    backup = {
        "MODBOT_BACKUP_ENDPOINT": installation.s3_endpoint,
        "MODBOT_BACKUP_BUCKET": installation.s3_bucket,
        "MODBOT_BACKUP_ACCESS_KEY_FILE": str(installation.files.s3_access_key),
        "MODBOT_BACKUP_SECRET_KEY_FILE": str(installation.files.s3_secret_key),
    }
    return [
        Process(
            name=name,
            label="modbot",
            command=modbot("run", "gateway"),
            environment={
                **_bus(settings, installation, name, "gateway"),
                **_discord(installation),
                **backup,
                **_lease_times(installation, "GATEWAY_LEASE_TTL_S", "GATEWAY_LEADER_TTL_S"),
                "MODBOT_BACKUP_LOG": str(installation.home / "logs" / f"litestream-{name}.log"),
                "MODBOT_GATEWAY_DATA": str(installation.home / "pods" / name),
                "MODBOT_PARENT_SEED_FILE": str(installation.files.seeds / "parent.nk"),
            },
            needs=["streams", *_those("s3", own), *_those("simulator", own)],
            probe=BusProbe(component="gateway", replica=name),
            # Others serve its guilds at once: starting it again takes no processor from them.
            pause_s=1.0 if settings.gateways > 1 else 0.1,
            essential=False,
            grace_s=35.0,  # it drains first (MODBOT_GATEWAY_GRACE_S)
            links=[_metrics(installation, name)],
        )
        for name in replicas("gateway", settings.gateways)
    ]


def _shards(settings: StackSettings, installation: Installation, own: set[str]) -> list[Process]:
    return [
        Process(
            name=name,
            label="modbot",
            command=modbot("run", "shard"),
            environment={
                **_bus(settings, installation, name, "shard"),
                **_discord(installation),
                **_lease_times(installation, "SHARD_LEASE_TTL_S"),
            },
            needs=["streams", *_those("simulator", own)],
            probe=BusProbe(component="shard", replica=name),
            links=[_metrics(installation, name)],
        )
        for name in replicas("shard", settings.shards)
    ]


def _edges(settings: StackSettings, installation: Installation) -> list[Process]:
    found = []
    for name in replicas("edge", settings.edges):
        port = installation.ports[name]
        found.append(
            Process(
                name=name,
                label="modbot",
                command=modbot("run", "edge"),
                environment={
                    **_bus(settings, installation, name, "edge"),
                    "MODBOT_EDGE_HOST": HOST,
                    "MODBOT_EDGE_PORT": str(port),
                    "MODBOT_EDGE_OPERATOR_TOKEN_FILE": str(installation.files.operator_token),
                    "MODBOT_EDGE_DISCORD_PUBLIC_KEY": installation.discord.public_key,
                },
                needs=["streams"],
                probe=HttpProbe(port=port, path="/readyz"),
                essential=False,
                links=[
                    Link(name="API", url=f"http://{HOST}:{port}/schema"),
                    _metrics(installation, name),
                ],
            )
        )
    return found


def _bus(
    settings: StackSettings, installation: Installation, name: str, user: str
) -> dict[str, str]:
    environment = {
        "MODBOT_REPLICA": name,
        "MODBOT_LOG_LEVEL": settings.log_level,
        "MODBOT_NATS_URL": installation.nats_url,
        "MODBOT_NATS_SEED_FILE": str(installation.files.seeds / f"{user}.nk"),
    }
    if settings.traces:
        environment["MODBOT_TRACE_FOLDER"] = str(installation.home / "traces")
    if port := installation.ports.get(metrics_port(name)):
        environment["MODBOT_METRICS_ADDR"] = f"{HOST}:{port}"
    return environment


def _metrics(installation: Installation, name: str) -> Link:
    port = installation.ports[metrics_port(name)]
    return Link(name="metrics", url=f"http://{HOST}:{port}{METRICS_PATH}")


def _lease_times(installation: Installation, *settings: str) -> dict[str, str]:
    if len(installation.nats) < 2:
        return {}
    return {f"MODBOT_{setting}": str(CLUSTER_TTL_S) for setting in settings}


def _discord(installation: Installation) -> dict[str, str]:
    environment = {"MODBOT_DISCORD_TOKEN_FILE": str(installation.files.discord_token)}
    if installation.discord.api_url:
        environment["MODBOT_DISCORD_API_URL"] = installation.discord.api_url
    if installation.discord.gateway_url:
        environment["MODBOT_DISCORD_GATEWAY_URL"] = installation.discord.gateway_url
    return environment


def _those(name: str, own: set[str]) -> list[str]:
    return [name] if name in own else []
