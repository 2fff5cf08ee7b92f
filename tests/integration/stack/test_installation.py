"""What an installation makes once and keeps."""

import stat
from pathlib import Path

import msgspec
import nkeys
import pytest

from components.simulator.clock import Clock, Snowflake
from components.simulator.control.actions import new_application
from components.simulator.record import Record
from components.simulator.rest.applications import verify_key
from components.simulator.settings import Settings
from components.simulator.world.store import World
from components.stack.errors import OtherApplication
from components.stack.installation import prepare
from components.stack.settings import StackSettings
from contracts import accounts
from tests.support.stack import REAL_DISCORD, remember_ports


def settings(home: Path) -> StackSettings:
    """PostgreSQL elsewhere: making a cluster takes a second, and has its own tests."""
    return StackSettings(home=str(home), database_url="postgresql://db.example/modbot")


def test_a_second_preparation_keeps_keys_ports_and_tokens(tmp_path: Path) -> None:
    remember_ports(tmp_path)
    first = prepare(settings(tmp_path))
    secrets = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert prepare(settings(tmp_path)) == first
    assert {path: path.read_bytes() for path in secrets} == secrets


def test_secrets_are_files_that_only_their_owner_reads(tmp_path: Path) -> None:
    made = prepare(settings(tmp_path))
    files = [getattr(made.files, name) for name in made.files.__struct_fields__]
    seeds = [made.files.seeds / f"{user.name}.nk" for user in accounts.USERS]
    for path in [*seeds, *(path for path in files if path.is_file())]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_every_bus_user_has_a_seed_that_is_one(tmp_path: Path) -> None:
    made = prepare(settings(tmp_path))
    for user in accounts.USERS:
        nkeys.from_seed((made.files.seeds / f"{user.name}.nk").read_bytes())


def test_addresses_given_are_used_and_nothing_is_made_for_them(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds"
    seeds.mkdir()
    home = tmp_path / "home"
    made = prepare(
        msgspec.structs.replace(
            settings(home),
            nats_url="nats://nats.example:4222",
            nats_seeds=str(seeds),
            s3_endpoint="https://s3.example",
            s3_access_key="their-key",
            s3_secret_key="their-secret",
        )
    )
    assert (made.nats, made.postgres, made.s3) == ([], None, None)
    assert made.nats_url == "nats://nats.example:4222"
    assert made.files.seeds == seeds
    assert made.files.database_url.read_text() == "postgresql://db.example/modbot"
    assert made.files.s3_access_key.read_text() == "their-key"
    assert made.s3_endpoint == "https://s3.example"
    own = {name for name in made.ports if not name.startswith("metrics.")}
    assert own == {"simulator", "edge-0"}


def test_data_of_one_application_is_not_used_for_another(tmp_path: Path) -> None:
    prepare(settings(tmp_path))
    with pytest.raises(OtherApplication, match="simulated Discord, not to application 42"):
        prepare(settings(tmp_path), REAL_DISCORD)


def test_the_simulated_key_is_the_one_that_the_simulator_signs_with(tmp_path: Path) -> None:

    discord = prepare(settings(tmp_path)).discord
    clock = Clock()
    world = World(Settings(), clock, Record(clock, 10))
    application = new_application(world, Snowflake(int(discord.application_id)), "modbot", "t", 0)
    assert discord.public_key == verify_key(application)
