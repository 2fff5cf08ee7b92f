"""Settings that would stop a shard from working are refused by name."""

import pytest

from components.process.settings import InvalidSettings, load
from components.shard.settings import ShardSettings


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MODBOT_SHARD_WINDOW", "0"),
        ("MODBOT_SHARD_COUNT", "-1"),
        ("MODBOT_SHARD_COUNT", "many"),
        ("MODBOT_SHARD_LEASE_TTL_S", "1"),
        ("MODBOT_SHARD_PART_KIB", "2000"),
        ("MODBOT_SHARD_QUEUE_DISPATCHES", "0"),
    ],
)
def test_a_value_that_cannot_work_is_refused(variable: str, value: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        load(ShardSettings, "SHARD", {variable: value})
    assert refused.value.variable == variable


def test_everything_has_a_default() -> None:
    assert load(ShardSettings, "SHARD", {}) == ShardSettings()
