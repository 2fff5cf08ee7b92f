"""Writes everything that is generated from the contracts, or checks that it is up to date.

    python -m contracts.generate                        write
    python -m contracts.generate --check                exit 1 and name the files that differ
    python -m contracts.generate --accept-incompatible  write although it breaks what was committed

What is committed is the contract that others rely on: writing is refused (exit 1, a line for each
break) when the types no longer keep it.
"""

import argparse
import json
import sys
from pathlib import Path

from contracts.documents.asyncapi import asyncapi
from contracts.documents.compatibility import breaks
from contracts.documents.nats_files import as_text, nats_files
from contracts.documents.schemas import schema_files

ROOT = Path(__file__).resolve().parent.parent
ASYNCAPI = Path("contracts/asyncapi.json")
SCHEMAS = Path("contracts/schemas")
NATS = Path("infra/nats")


def files() -> dict[Path, str]:
    """Every generated file, relative to the repository, with its content."""
    found = {ASYNCAPI: as_text(asyncapi())}
    found |= {SCHEMAS / name: as_text(schema) for name, schema in schema_files().items()}
    found |= {NATS / name: content for name, content in nats_files().items()}
    return found


def drift(root: Path) -> list[str]:
    """Files below ``root`` that are missing, differ, or are no longer generated."""
    wanted = files()
    differing = [path for path, content in wanted.items() if _read(root / path) != content]
    return sorted(str(path) for path in (*differing, *_left_over(root, set(wanted))))


def incompatibilities(root: Path) -> list[str]:
    """What today's types break of the contract that is committed below ``root``."""
    committed = _read(root / ASYNCAPI)
    return breaks(json.loads(committed), asyncapi()) if committed is not None else []


def write(root: Path) -> None:
    """Write every file; remove what is no longer generated."""
    wanted = files()
    for path, content in wanted.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content, encoding="utf-8")
    for path in _left_over(root, set(wanted)):
        (root / path).unlink()


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m contracts.generate", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--accept-incompatible", action="store_true")
    options = parser.parse_args(arguments)
    broken = [] if options.accept_incompatible else incompatibilities(root)
    for line in broken:
        print(f"incompatible: {line}", file=sys.stderr)
    if options.check:
        differing = drift(root)
        for name in differing:
            print(f"not as generated: {name} (run python -m contracts.generate)", file=sys.stderr)
        return 1 if differing or broken else 0
    if broken:
        return 1
    write(root)
    return 0


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _left_over(root: Path, wanted: set[Path]) -> list[Path]:
    folders = (SCHEMAS, NATS / "streams", NATS / "contexts")
    present = {path.relative_to(root) for folder in folders for path in (root / folder).glob("*")}
    return sorted(present - wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
