"""What an edge is told, and what it refuses to be told."""

import pytest

from components.edge.settings import EdgeSettings, check
from components.process.settings import InvalidSettings, load


def test_defaults_serve_nothing_that_needs_a_secret() -> None:
    settings = check(load(EdgeSettings, "EDGE", {}))
    assert (settings.operator_token, settings.discord_public_key) == ("", "")


def test_sound_settings_are_taken_as_they_are() -> None:
    given = {
        "MODBOT_EDGE_HOST": "0.0.0.0",
        "MODBOT_EDGE_PORT": "0",
        "MODBOT_EDGE_OPERATOR_TOKEN": "t" * 20,
        "MODBOT_EDGE_DISCORD_PUBLIC_KEY": "aB" * 32,
    }
    assert check(load(EdgeSettings, "EDGE", given)) == EdgeSettings(
        host="0.0.0.0", port=0, operator_token="t" * 20, discord_public_key="aB" * 32
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("OPERATOR_TOKEN", "short"),
        ("OPERATOR_TOKEN", "é" * 20),
        ("DISCORD_PUBLIC_KEY", "a" * 63),
        ("DISCORD_PUBLIC_KEY", "g" * 64),
        ("DISCORD_PUBLIC_KEY", "²" * 64),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "http"),
    ],
)
def test_what_cannot_work_is_refused_by_its_variables_name(field: str, value: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        check(load(EdgeSettings, "EDGE", {f"MODBOT_EDGE_{field}": value}))
    assert caught.value.variable == f"MODBOT_EDGE_{field}"
    if field != "PORT":
        assert value not in str(caught.value)
