"""Where metrics are served is a setting that is checked before anything starts."""

import pytest

from components.process.service import parse_address
from components.process.settings import InvalidSettings


def test_an_address_has_a_host_and_a_port() -> None:
    assert parse_address("127.0.0.1:9100") == ("127.0.0.1", 9100)
    assert parse_address("[::1]:0") == ("::1", 0)


@pytest.mark.parametrize("wrong", ["9100", ":9100", "host:", "host:http", "host:65536", "host:-1"])
def test_any_other_address_is_refused_with_words(wrong: str) -> None:
    with pytest.raises(InvalidSettings, match=r"MODBOT_METRICS_ADDR: must be host:port"):
        parse_address(wrong)
