"""A damaged row is the request's error; a damaged disk is the pod's."""

import sqlite3

import msgspec
import pytest

from components.gateway.shell.reading import readable
from contracts.errors import ErrorCode, ServiceError
from contracts.ids import GuildId

GUILD = GuildId("1000")


@pytest.mark.parametrize(
    "error", [TypeError("t"), ValueError("v"), KeyError("k"), msgspec.ValidationError("m")]
)
def test_a_row_that_is_not_what_it_must_be_fails_the_request(error: Exception) -> None:
    def read() -> None:
        raise error

    with pytest.raises(ServiceError) as caught:
        readable(GUILD, read)
    assert caught.value.code == ErrorCode.UNREADABLE
    assert f"guild {GUILD}" in caught.value.description


def test_a_text_that_is_none_fails_the_request() -> None:
    database = sqlite3.connect(":memory:")
    with pytest.raises(ServiceError):
        readable(GUILD, database.execute("SELECT CAST(x'ff' AS TEXT)").fetchone)


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("disk I/O error"),
        sqlite3.DatabaseError("database disk image is malformed"),
        MemoryError(),
    ],
)
def test_errors_of_disk_and_memory_pass(error: BaseException) -> None:
    def read() -> None:
        raise error

    with pytest.raises(type(error)):
        readable(GUILD, read)


def test_what_the_reader_itself_refuses_passes() -> None:
    def read() -> None:
        raise ServiceError(ErrorCode.NOT_FOUND, "there is no case 7")

    with pytest.raises(ServiceError) as caught:
        readable(GUILD, read)
    assert caught.value.code == ErrorCode.NOT_FOUND
