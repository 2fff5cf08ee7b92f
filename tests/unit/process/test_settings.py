"""Settings from the environment: defaults, files for secrets, errors that name the variable."""

from pathlib import Path

import msgspec
import pytest

from components.process.settings import InvalidSettings, load, variable_of


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    url: str = "nats://here"
    port: int = 4222
    on: bool = False
    seed: str


def test_values_are_read_and_the_rest_has_its_defaults() -> None:
    found = load(Settings, "NATS", {"MODBOT_NATS_SEED": "s", "MODBOT_NATS_PORT": "1"})
    assert found == Settings(seed="s", port=1)
    assert load(Settings, "NATS", {"MODBOT_NATS_SEED": "s", "MODBOT_NATS_ON": "true"}).on


def test_an_empty_variable_is_an_unset_one() -> None:
    assert load(Settings, "NATS", {"MODBOT_NATS_SEED": "s", "MODBOT_NATS_URL": ""}).url
    with pytest.raises(InvalidSettings, match="MODBOT_NATS_SEED: is not set"):
        load(Settings, "NATS", {"MODBOT_NATS_SEED": ""})


def test_a_secret_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "seed"
    file.write_text("from the file\n")
    environment = {"MODBOT_NATS_SEED_FILE": str(file)}
    assert load(Settings, "NATS", environment).seed == "from the file"
    file.unlink()
    with pytest.raises(InvalidSettings, match="MODBOT_NATS_SEED_FILE: cannot be read"):
        load(Settings, "NATS", environment)


def test_a_wrong_value_is_named_with_its_variable() -> None:
    with pytest.raises(InvalidSettings, match=r"MODBOT_NATS_PORT: .*'many'"):
        load(Settings, "NATS", {"MODBOT_NATS_SEED": "s", "MODBOT_NATS_PORT": "many"})


def test_a_wrong_secret_is_not_shown() -> None:
    class Secret(msgspec.Struct, frozen=True, kw_only=True):
        seed: int

    with pytest.raises(InvalidSettings) as refused:
        load(Secret, "X", {"MODBOT_X_SEED": "very secret"})
    assert "very secret" not in str(refused.value)


def test_settings_without_a_prefix_have_no_double_underscore() -> None:
    assert variable_of("", "log_level") == "MODBOT_LOG_LEVEL"
    assert variable_of("EDGE", "port") == "MODBOT_EDGE_PORT"
