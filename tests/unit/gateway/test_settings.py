"""Settings with which a pod would hang, spin or act too long are refused by name."""

import pytest

from components.gateway.settings import BackupSettings, GatewaySettings, check, check_backup
from components.process.settings import InvalidSettings, load

DATA = {"MODBOT_GATEWAY_DATA": "/data"}


def test_the_folder_is_all_that_is_needed() -> None:
    assert check(load(GatewaySettings, "GATEWAY", DATA)) == GatewaySettings(data="/data")


def test_a_margin_may_take_all_but_a_second_of_the_lease() -> None:
    given = {"MODBOT_GATEWAY_LEASE_TTL_S": "3", "MODBOT_GATEWAY_LEASE_MARGIN_S": "2"}
    assert check(load(GatewaySettings, "GATEWAY", DATA | given)).lease_margin_s == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("DATA", ""),
        ("CAPACITY", "0"),
        ("CAPACITY", "-5"),
        ("CAPACITY", "many"),
        ("LEASE_TTL_S", "1"),
        ("LEASE_MARGIN_S", "0"),
        ("LEASE_MARGIN_S", "-1"),
        ("LEASE_MARGIN_S", "4.5"),
        ("LEASE_MARGIN_S", "6"),
        ("LEASE_MARGIN_S", "nan"),
        ("REST_PER_S", "0"),
        ("REST_PER_S", "-50"),
        ("REST_PER_S", "nan"),
        ("REST_PER_S", "inf"),
        ("REST_IN_FLIGHT", "0"),
        ("INVALID_LIMIT", "0"),
        ("INVALID_LIMIT", "10000"),
        ("SWEEP_EVERY_S", "0"),
        ("SWEEP_EVERY_S", "nan"),
        ("SWEEP_EVERY_S", "3600"),
        ("OPENING_AT_ONCE", "0"),
    ],
)
def test_what_cannot_work_is_refused_by_its_variables_name(field: str, value: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        check(load(GatewaySettings, "GATEWAY", DATA | {f"MODBOT_GATEWAY_{field}": value}))
    assert refused.value.variable == f"MODBOT_GATEWAY_{field}"


def test_a_margin_that_does_not_fit_names_the_ttl_too() -> None:
    with pytest.raises(InvalidSettings, match="MODBOT_GATEWAY_LEASE_TTL_S"):
        check(GatewaySettings(data="/data", lease_ttl_s=5, lease_margin_s=6))


def test_a_backup_may_be_off() -> None:
    assert check_backup(load(BackupSettings, "BACKUP", {})) == BackupSettings()


@pytest.mark.parametrize(
    ("given", "variable"),
    [
        ({"ACCESS_KEY": "a-key"}, "MODBOT_BACKUP_SECRET_KEY"),
        ({"SECRET_KEY": "a-key"}, "MODBOT_BACKUP_ACCESS_KEY"),
        ({"ENDPOINT": "127.0.0.1:9000"}, "MODBOT_BACKUP_ENDPOINT"),
        ({"LOOK_EVERY_S": "0"}, "MODBOT_BACKUP_LOOK_EVERY_S"),
        ({"LOOK_EVERY_S": "nan"}, "MODBOT_BACKUP_LOOK_EVERY_S"),
        ({"RETENTION_H": "0"}, "MODBOT_BACKUP_RETENTION_H"),
        ({"PRUNE_EVERY_S": "0"}, "MODBOT_BACKUP_PRUNE_EVERY_S"),
    ],
)
def test_a_backup_that_cannot_work_is_refused_without_its_secret(
    given: dict[str, str], variable: str
) -> None:
    environment = {f"MODBOT_BACKUP_{name}": value for name, value in given.items()}
    with pytest.raises(InvalidSettings) as refused:
        check_backup(load(BackupSettings, "BACKUP", environment | {"MODBOT_BACKUP_BUCKET": "b"}))
    assert refused.value.variable == variable
    assert "a-key" not in str(refused.value)
