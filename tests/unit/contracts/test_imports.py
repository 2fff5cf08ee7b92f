"""Contracts depend on nothing but msgspec and the standard library."""

import ast
import sys
from pathlib import Path

import contracts

FOLDER = Path(contracts.__path__[0])


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.split(".")[0] for name in names}


def test_contracts_import_msgspec_and_the_standard_library_alone() -> None:
    allowed = {*sys.stdlib_module_names, "msgspec", "contracts"}
    paths = sorted(FOLDER.rglob("*.py"))
    assert len(paths) > 15
    assert {path.name: imported(path) - allowed for path in paths if imported(path) - allowed} == {}


def test_what_travels_does_not_import_what_is_generated() -> None:
    for path in sorted(FOLDER.glob("*.py")):
        if path.name != "generate.py":
            assert "contracts.documents" not in path.read_text(encoding="utf-8"), path.name
