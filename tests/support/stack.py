"""An installation of the local stack: as a value, of which nothing exists on disk; or its ports."""

import signal
from pathlib import Path

import msgspec

from components.stack.installation import (
    Discord,
    Installation,
    S3Server,
    SecretFiles,
    metrics_port,
)
from components.stack.nats import NatsServer
from components.stack.postgres import PostgresServer
from tests.support.nats import free_port

HOME = Path("/home/somebody/.modbot")
REAL_DISCORD = Discord(
    token="real-token", application_id="42", public_key="ab" * 32, simulated=False
)


def node(number: int) -> NatsServer:
    """One of the servers of a cluster."""
    return NatsServer(
        name=f"nats-{number}",
        port=4222 + number,
        monitor=8222 + number,
        command=["nats-server", "-p", str(4222 + number)],
        environment={},
        url=f"nats://127.0.0.1:{4222 + number}",
        seeds={},
    )


def installation(**changed: object) -> Installation:
    """What `prepare` returns with the usual ports."""
    ports = {"nats": 4222, "postgres": 54329, "s3": 9000, "simulator": 8600}
    ports |= {"edge-0": 8080, "edge-1": 8081}
    for component, first in (("config", 9110), ("gateway", 9120), ("shard", 9150), ("edge", 9170)):
        ports |= {f"metrics.{component}-{number}": first + number for number in range(3)}
    made = Installation(
        home=HOME,
        ports=ports,
        nats=[
            NatsServer(
                name="nats",
                port=4222,
                command=["nats-server", "-p", "4222"],
                environment={"MODBOT_NKEY_SHARD": "UPUBLIC"},
                url="nats://127.0.0.1:4222",
                seeds={"shard": "SUSECRETSEED"},
            )
        ],
        nats_url="nats://127.0.0.1:4222",
        postgres=PostgresServer(
            command=["postgres", "-D", "data"],
            environment={"PATH": "/bin"},
            dsn="postgresql://modbot:secret-password@127.0.0.1:54329/postgres",
            host="127.0.0.1",
            port=54329,
            stop_signal=signal.SIGINT,
        ),
        s3=S3Server(command=["rclone", "serve", "s3"], environment={"RCLONE_AUTH_KEY": '"a,b"'}),
        s3_endpoint="http://127.0.0.1:9000",
        s3_bucket="modbot",
        discord=Discord(
            token="simulated-token",
            application_id="1",
            public_key="cd" * 32,
            api_url="http://127.0.0.1:8600/api/v10",
            gateway_url="ws://127.0.0.1:8600/gateway",
            simulated=True,
        ),
        files=SecretFiles(
            seeds=HOME / "nats" / "keys",
            database_url=HOME / "secrets" / "database-url",
            s3_access_key=HOME / "secrets" / "s3-access-key",
            s3_secret_key=HOME / "secrets" / "s3-secret-key",
            operator_token=HOME / "secrets" / "operator-token",
            discord_token=HOME / "secrets" / "discord-token",
        ),
    )
    return msgspec.structs.replace(made, **changed)


SERVERS = ("nats", "postgres", "s3", "simulator", "edge-0")
REPLICAS = ("config-0", "config-1", "gateway-0", "gateway-1", "shard-0", "edge-0")


def remember_ports(home: Path) -> dict[str, int]:
    """Let an installation of the usual size remember ports that no other wants; returns them. The
    usual ones may be another test's when it is started again."""
    names = [*SERVERS, *map(metrics_port, REPLICAS)]
    ports = {name: free_port() for name in names}
    home.mkdir(exist_ok=True)
    (home / "ports.json").write_bytes(msgspec.json.encode(ports))
    return ports
