"""What `modbot up` starts and where it keeps things: ``MODBOT_STACK_*``, or its options."""

import msgspec


class StackSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A server that has its address here is not started; it is used."""

    home: str = ".modbot"
    """Folder of everything the stack keeps (or ``MODBOT_HOME``)."""
    shards: int = 1
    """Processes that hold Discord sessions; they share the shard ids."""
    gateways: int = 2
    configs: int = 2
    edges: int = 1
    nats: int = 1
    """NATS servers: one alone, or a cluster of 3 or 5, each stream on three of them."""
    log_level: str = "INFO"
    traces: bool = False
    """Write the spans of every process to ``<home>/traces``."""
    ready_s: float = 120.0
    """How long everything may take to become ready before `modbot up` gives up."""

    nats_url: str = ""
    nats_seeds: str = ""
    """Folder with ``<user>.nk`` for every bus user, when ``nats_url`` is given."""
    database_url: str = ""
    s3_endpoint: str = ""
    s3_bucket: str = "modbot"
    s3_access_key: str = ""
    s3_secret_key: str = ""
