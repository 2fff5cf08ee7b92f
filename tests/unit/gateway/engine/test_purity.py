"""The engine imports no clock, no randomness, no environment, no asyncio and no network."""

import ast
from pathlib import Path

import components.gateway.engine as engine
from components.gateway.engine.effects import PAYLOADS, USEFUL_MS, nonce_of
from components.gateway.engine.registry import find_policies
from contracts.ids import GuildId, Sequence

FORBIDDEN_MODULES = {
    "asyncio",
    "time",
    "random",
    "secrets",
    "uuid",
    "os",
    "socket",
    "threading",
    "urllib",
    "http",
    "aiohttp",
    "nats",
    "discord",
    "logging",
    "subprocess",
}
FORBIDDEN_NAMES = {"now", "utcnow", "today", "environ", "hash", "id", "urandom"}
SOURCES = sorted(Path(engine.__file__).parent.rglob("*.py"))


def test_no_module_imports_what_would_not_replay() -> None:
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            roots = {name.split(".")[0] for name in names}
            assert not roots & FORBIDDEN_MODULES, f"{source.name}: {roots}"


def test_no_module_calls_what_would_not_replay() -> None:
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            assert name not in FORBIDDEN_NAMES, f"{source.name}:{node.lineno} calls {name}"


def test_policies_are_found_in_a_fixed_order() -> None:
    names = [policy.name for policy in find_policies().policies]
    assert names == [
        "mirror",
        "settings",
        "cases",
        "reports",
        "spam",
        "signals",
        "interactions",
        "restore",
    ]


def test_every_kind_of_effect_has_a_payload_and_a_time_of_use() -> None:
    assert set(PAYLOADS) == set(USEFUL_MS)
    assert len(PAYLOADS) == 11


def test_nonces_are_short_stable_and_differ() -> None:
    places = [(guild, sequence, index) for guild in "12" for sequence in (1, 2) for index in (0, 1)]
    nonces = [nonce_of(GuildId(g), Sequence(s), i) for g, s, i in places]
    assert len(set(nonces)) == len(nonces)
    assert all(len(nonce) == 24 and nonce.isalnum() for nonce in nonces)
    assert nonces[0] == nonce_of(GuildId("1"), Sequence(1), 0)
