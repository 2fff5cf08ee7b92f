"""The journal of a run: read back as it was written, also when it was cut off."""

from pathlib import Path

from components.traffic import journal
from contracts.ids import GuildId
from tests.unit.traffic.test_report import posted


def test_a_journal_is_read_back_without_its_unfinished_line(tmp_path: Path) -> None:
    path = tmp_path / journal.NAME
    begun = journal.Begun(inputs={GuildId("42"): 7})
    with path.open("wb") as file:
        journal.write(file, begun)
        journal.write(file, posted("1", "spam"))
        file.write(b'{"type": "posted", "mess')
    found = journal.read(path)
    assert found is not None
    assert found.begun == begun
    assert [post.message for post in found.posts] == ["1"]


def test_there_is_no_journal_before_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / journal.NAME
    assert journal.read(path) is None
    path.touch()
    assert journal.read(path) is None
