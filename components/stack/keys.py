"""The bus users' nkeys of one installation: made once, kept in files that only the owner reads."""

import os
import secrets
from pathlib import Path

import nkeys

from contracts import accounts


def user_keys(folder: Path) -> dict[str, str]:
    """The seed of every bus user, made and written to ``<folder>/<user>.nk`` where missing."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return {user.name: _seed(folder / f"{user.name}.nk") for user in accounts.USERS}


def server_environment(seeds: dict[str, str]) -> dict[str, str]:
    """The variables with public keys that nats-server's configuration refers to."""
    return {accounts.nkey_variable(user): public_key(seed) for user, seed in seeds.items()}


def public_key(seed: str) -> str:
    """The public nkey of a seed."""
    pair = nkeys.from_seed(seed.encode())
    public: bytes = pair.public_key
    pair.wipe()
    return public.decode()


def _seed(path: Path) -> str:
    if path.exists():
        return path.read_text(encoding="ascii").strip()
    seed: str = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER).decode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(seed)
    return seed
