"""What an installation makes once and keeps: keys, ports, the database's files, the bucket.

`prepare` is idempotent: what exists is kept, so a second `modbot up` continues with the data.
Fails with `binaries.MissingBinary`, `postgres.CannotPrepare` and `OSError`, all with words.
"""

import os
import secrets
from pathlib import Path

import msgspec
from nacl.signing import SigningKey

from components import binaries
from components.process.settings import InvalidSettings, variable_of
from components.simulator.world.store import signing_seed
from components.stack import nats, ports, postgres
from components.stack.errors import OtherApplication
from components.stack.nats import NatsServer, NodePorts
from components.stack.postgres import PostgresServer
from components.stack.settings import StackSettings

HOST = "127.0.0.1"
NODES = (1, 3, 5)
SIMULATED_APPLICATION = 1_000_000_000_000_000_001
SIMULATOR_SEED = 0
"""The application's signing key derives from it, and the edge must know the public one."""
SIMULATED_TOKEN = "simulated-token"  # noqa: S105 - opens nothing but the simulator


class S3Server(msgspec.Struct, frozen=True, kw_only=True):
    """An S3 server of the stack."""

    command: list[str]
    environment: dict[str, str]


class Discord(msgspec.Struct, frozen=True, kw_only=True):
    """The Discord that the components talk to."""

    token: str
    application_id: str
    public_key: str
    api_url: str = ""
    gateway_url: str = ""
    """Both unset: the real one."""
    simulated: bool


class SecretFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Where credentials lie; files that only their owner can read."""

    seeds: Path
    database_url: Path
    s3_access_key: Path
    s3_secret_key: Path
    operator_token: Path
    discord_token: Path


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """Servers that are None, or no servers, run elsewhere."""

    home: Path
    ports: dict[str, int]
    nats: list[NatsServer]
    nats_url: str
    """All addresses, separated by commas."""
    postgres: PostgresServer | None
    s3: S3Server | None
    s3_endpoint: str
    s3_bucket: str
    discord: Discord
    files: SecretFiles


def prepare(
    settings: StackSettings,
    account: Discord | None = None,
    *,
    keep_ports: bool = False,
    claims: ports.Claims | None = None,
) -> Installation:
    """Make what is missing. ``account`` is the real Discord's; without it there is a simulator.
    ``keep_ports`` and ``claims`` are as in `ports.choose`."""
    home = Path(settings.home).resolve()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    _bind(home, account)
    chosen = ports.choose(home, _names(settings, account), keep=keep_ports, claims=claims)
    own_nats = _nats(settings, home / "nats", chosen)
    database = None
    if not settings.database_url:
        database = postgres.prepare(home / "postgres", chosen["postgres"])
    kept = home / "secrets"
    files = SecretFiles(
        seeds=_seeds(settings, home),
        database_url=_written(
            kept / "database-url", database.dsn if database else settings.database_url
        ),
        s3_access_key=_secret(kept / "s3-access-key", settings.s3_access_key),
        s3_secret_key=_secret(kept / "s3-secret-key", settings.s3_secret_key),
        operator_token=_secret(kept / "operator-token", ""),
        discord_token=_written(
            kept / "discord-token", account.token if account else SIMULATED_TOKEN
        ),
    )
    nats_url = ",".join(server.url for server in own_nats) or settings.nats_url
    nats.write_context(home / "config", nats_url, files.seeds / "operator.nk")
    return Installation(
        home=home,
        ports=chosen,
        nats=own_nats,
        nats_url=nats_url,
        postgres=database,
        s3=None if settings.s3_endpoint else _s3(home / "s3", chosen["s3"], settings, files),
        s3_endpoint=settings.s3_endpoint or f"http://{HOST}:{chosen['s3']}",
        s3_bucket=settings.s3_bucket,
        discord=account or _simulated(chosen["simulator"]),
        files=files,
    )


def _bind(home: Path, account: Discord | None) -> None:
    """Bind the data to one application: another's guilds would wait for a bot that is gone.

    Raises `OtherApplication`.
    """
    mark = home / "application"
    wanted = account.application_id if account else "simulated"
    if not mark.exists():
        mark.write_text(wanted, encoding="ascii")
        return
    kept = mark.read_text(encoding="ascii")
    if kept != wanted:
        raise OtherApplication(
            f"the data in {home} belongs to {_named(kept)}, not to {_named(wanted)}: name another "
            "folder with --home, or give it up with --reset"
        )


def _named(application: str) -> str:
    return "the simulated Discord" if application == "simulated" else f"application {application}"


def _names(settings: StackSettings, account: Discord | None) -> list[str]:
    servers = (
        ("postgres", not settings.database_url),
        ("s3", not settings.s3_endpoint),
        ("simulator", account is None),
    )
    names = [name for name, own in servers if own]
    if not settings.nats_url:
        names += _nats_names(settings.nats)
    names += replicas("edge", settings.edges)
    counts = {
        "config": settings.configs,
        "gateway": settings.gateways,
        "shard": settings.shards,
        "edge": settings.edges,
    }
    for component, count in counts.items():
        names += [metrics_port(name) for name in replicas(component, count)]
    return names


def replicas(component: str, count: int) -> list[str]:
    """The names of a component's replicas."""
    return [f"{component}-{number}" for number in range(count)]


def metrics_port(name: str) -> str:
    """Under which name it is remembered where a replica's metrics are."""
    return f"metrics.{name}"


def _nats_names(nodes: int) -> list[str]:
    if nodes == 1:
        return ["nats"]
    return [f"{port}-{node}" for node in range(nodes) for port in ("nats", "route", "monitor")]


def _nats(settings: StackSettings, folder: Path, chosen: dict[str, int]) -> list[NatsServer]:
    if settings.nats_url:
        return []
    if settings.nats not in NODES:
        raise InvalidSettings(
            variable_of("STACK", "nats"),
            f"is {settings.nats}; a cluster that decides by majority has 3 or 5 servers, or 1",
        )
    if settings.nats == 1:
        return [nats.prepare(folder, chosen["nats"], name="nats")]
    ports_of_nodes = [
        NodePorts(
            client=chosen[f"nats-{node}"],
            route=chosen[f"route-{node}"],
            monitor=chosen[f"monitor-{node}"],
        )
        for node in range(settings.nats)
    ]
    return nats.prepare_cluster(folder, ports_of_nodes)


def _seeds(settings: StackSettings, home: Path) -> Path:
    if not settings.nats_url:
        return home / "nats" / "keys"
    if not settings.nats_seeds:
        raise InvalidSettings(
            variable_of("STACK", "nats_seeds"),
            "is not set; name the folder with the bus users' seeds (<user>.nk), because "
            "MODBOT_STACK_NATS_URL is given",
        )
    return Path(settings.nats_seeds).resolve()


def _s3(folder: Path, port: int, settings: StackSettings, files: SecretFiles) -> S3Server:
    """rclone serves every folder as a bucket."""
    (folder / settings.s3_bucket).mkdir(parents=True, exist_ok=True)
    pair = ",".join(
        path.read_text(encoding="utf-8") for path in (files.s3_access_key, files.s3_secret_key)
    )
    command = [str(binaries.find("rclone")), "serve", "s3", str(folder)]
    command += ["--addr", f"{HOST}:{port}", "--config", os.devnull, "--vfs-cache-mode", "off"]
    # In the environment, not on the command line, which everyone can read.
    return S3Server(command=command, environment={"RCLONE_AUTH_KEY": f'"{pair}"'})


def _simulated(port: int) -> Discord:
    key = SigningKey(signing_seed(SIMULATOR_SEED, SIMULATED_APPLICATION)).verify_key
    return Discord(
        token=SIMULATED_TOKEN,
        application_id=str(SIMULATED_APPLICATION),
        public_key=key.encode().hex(),
        api_url=f"http://{HOST}:{port}/api/v10",
        gateway_url=f"ws://{HOST}:{port}/gateway",
        simulated=True,
    )


def _secret(path: Path, given: str) -> Path:
    """The file with the given value, or with one that was made at the first start."""
    if given:
        return _written(path, given)
    return path if path.exists() else _written(path, secrets.token_hex(20))


def _written(path: Path, value: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f"{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(value)
    beside.replace(path)
    return path
