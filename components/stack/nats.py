"""How nats-server is started: its command, environment and configuration files."""

from pathlib import Path

import msgspec

from components import binaries
from components.stack import keys
from contracts import accounts


class NatsServer(msgspec.Struct, frozen=True, kw_only=True):
    """A nats-server of the stack. ``seeds`` are the bus users' nkey seeds."""

    command: list[str]
    environment: dict[str, str]
    url: str
    seeds: dict[str, str]


def prepare(
    folder: Path, port: int, *, name: str = "modbot", host: str = "127.0.0.1"
) -> NatsServer:
    """Write the configuration and keys below ``folder`` and say how to start the server.

    Streams are kept in ``<folder>/store``, so a second start continues with them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "server.conf").write_text(accounts.server_conf(), encoding="utf-8")
    (folder / "accounts.conf").write_text(accounts.accounts_conf(), encoding="utf-8")
    seeds = keys.user_keys(folder / "keys")
    command = [str(binaries.find("nats-server")), "-c", str(folder / "server.conf")]
    command += ["-n", name, "-a", host, "-p", str(port), "-sd", str(folder / "store")]
    return NatsServer(
        command=command,
        environment=keys.server_environment(seeds),
        url=f"nats://{host}:{port}",
        seeds=seeds,
    )
