"""Settings that cannot work are refused with the variable's name."""

import pytest

from components.config.settings import ConfigSettings, check
from components.process.settings import InvalidSettings, load

URL = "postgresql://modbot:secret@127.0.0.1/modbot"


def test_the_address_is_all_that_is_needed() -> None:
    settings = check(load(ConfigSettings, "CONFIG", {"MODBOT_CONFIG_DATABASE_URL": URL}))
    assert settings.followers == 1
    assert settings.leader_ttl_s == 5


@pytest.mark.parametrize(
    ("changes", "variable"),
    [
        ({"DATABASE_URL": ""}, "MODBOT_CONFIG_DATABASE_URL"),
        ({"DATABASE_URL": "mysql://modbot:secret@db/x"}, "MODBOT_CONFIG_DATABASE_URL"),
        ({"FOLLOWERS": "2"}, "MODBOT_CONFIG_FOLLOWERS"),
        ({"JOINING_AT_ONCE": "0"}, "MODBOT_CONFIG_JOINING_AT_ONCE"),
        ({"JOINING_WITHIN_S": "0"}, "MODBOT_CONFIG_JOINING_WITHIN_S"),
        ({"GRACE_S": "-1"}, "MODBOT_CONFIG_GRACE_S"),
        ({"POD_TTL_S": "0"}, "MODBOT_CONFIG_POD_TTL_S"),
        ({"LEADER_TTL_S": "1"}, "MODBOT_CONFIG_LEADER_TTL_S"),
        ({"ALARM_EVERY_S": "0"}, "MODBOT_CONFIG_ALARM_EVERY_S"),
        ({"ALARM_AFTER_S": "-1"}, "MODBOT_CONFIG_ALARM_AFTER_S"),
        ({"ALARM_FULL": "0.95"}, "MODBOT_CONFIG_ALARM_FULL_CRITICAL"),
    ],
)
def test_what_cannot_work_is_named_without_the_secret(
    changes: dict[str, str], variable: str
) -> None:
    environment = {f"MODBOT_CONFIG_{k}": v for k, v in ({"DATABASE_URL": URL} | changes).items()}
    with pytest.raises(InvalidSettings) as refused:
        check(load(ConfigSettings, "CONFIG", environment))
    assert refused.value.variable == variable
    assert "secret" not in str(refused.value)
