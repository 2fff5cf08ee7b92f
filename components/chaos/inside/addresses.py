"""Other addresses for some replicas: chaos stands between them and a server.

``MODBOT_CHAOS_ADDRESSES`` is JSON: replica to variables and their values.
"""

import json
import os

from components.chaos.inside.control import REPLICA


def install() -> None:
    """Replace the variables before settings are read."""
    os.environ.update(json.loads(os.environ.get("MODBOT_CHAOS_ADDRESSES", "{}")).get(REPLICA, {}))
