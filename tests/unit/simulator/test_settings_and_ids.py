"""Settings from the environment, and ids."""

from pathlib import Path

import pytest

from components.simulator.clock import Clock, Snowflakes, created_ms, iso, parse_iso
from components.simulator.gateway.protocol import shard_of
from components.simulator.settings import Settings, SettingsError, from_environment


def test_settings_come_from_the_environment_with_their_types() -> None:
    got = from_environment(
        {
            "MODBOT_SIM_PORT": "8900",
            "MODBOT_SIM_STRICT_RESUME": "true",
            "MODBOT_SIM_RESUME_WINDOW_S": "2.5",
            "MODBOT_DISCORD_SPEC": "/spec",
            "OTHER": "x",
        }
    )
    expected = Settings(
        port=8900, strict_resume=True, resume_window_s=2.5, spec_folder=Path("/spec")
    )
    assert got == expected


@pytest.mark.parametrize(
    "environment",
    [{"MODBOT_SIM_PORT": "many"}, {"MODBOT_SIM_LIMITS": "maybe"}, {"MODBOT_SIM_TYPO": "1"}],
)
def test_a_wrong_setting_names_its_variable(environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(environment))):
        from_environment(environment)


def test_ids_are_unique_ordered_and_carry_their_time() -> None:
    clock = Clock()
    ids = Snowflakes(clock)
    before = clock.now_ms()
    made = [ids.next() for _ in range(20_000)]
    assert made == sorted(set(made))
    assert before - 1 <= created_ms(made[0]) <= clock.now_ms()
    old = ids.at(before - 1000)
    assert created_ms(old) == int(before - 1000)


def test_guild_ids_spread_over_shards_and_are_the_same_after_a_restart() -> None:
    first, second = ([Snowflakes(Clock(), 3).guild() for _ in range(1)] for _ in range(2))
    assert first == second
    ids = Snowflakes(Clock(), 3)
    shards = [shard_of(ids.guild(), 4) for _ in range(40)]
    assert {shards.count(n) for n in range(4)} == {10}


def test_a_timestamp_survives_its_text() -> None:
    assert parse_iso(iso(1_700_000_000_123.0)) == 1_700_000_000_123.0
    with pytest.raises(ValueError):
        parse_iso("yesterday")
