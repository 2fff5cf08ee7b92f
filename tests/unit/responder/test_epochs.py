"""The highest epoch of each guild."""

from components.responder.epochs import Epochs
from contracts.ids import Epoch, GuildId


def test_step_6_a_lower_epoch_than_one_seen_is_not_current() -> None:
    epochs = Epochs()
    assert epochs.is_current(GuildId("1"), Epoch(3))
    assert epochs.is_current(GuildId("1"), Epoch(3))
    assert not epochs.is_current(GuildId("1"), Epoch(2))
    assert epochs.is_current(GuildId("2"), Epoch(2))
    assert epochs.is_current(GuildId("1"), Epoch(4))


def test_the_guild_not_heard_of_for_longest_is_forgotten_first() -> None:
    epochs = Epochs(limit=2)
    for guild in ("1", "2", "1", "3"):
        assert epochs.is_current(GuildId(guild), Epoch(5))
    assert not epochs.is_current(GuildId("1"), Epoch(4))
    assert epochs.is_current(GuildId("2"), Epoch(4))
