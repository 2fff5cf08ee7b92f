"""How a component reaches the bus: ``MODBOT_NATS_*``."""

import msgspec


class BusSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Address and credentials of one bus user."""

    url: str = "nats://127.0.0.1:4222"
    """One address, or several separated by commas."""
    seed: str
    """The user's nkey seed (or ``MODBOT_NATS_SEED_FILE``)."""
