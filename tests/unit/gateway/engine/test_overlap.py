"""Dispatches that two sessions deliver while the number of shards changes: acted on once."""

from tests.unit.gateway.engine.support import Log, message, snapshot, tier

SPAM = "free nitro claim gift reward airdrop @everyone"


def cut_over() -> Log:
    """A guild whose old session told of a spam message before the new one went on."""
    log = Log()
    assert tier(log.post(SPAM, number=7)) is not None
    log.dispatch("GUILD_CREATE", snapshot(), session="s2", sequence=2, overlap=True)
    return log


def test_a_message_that_the_old_session_told_of_is_not_acted_on_again() -> None:
    log = cut_over()
    applied = log.dispatch(
        "MESSAGE_CREATE",
        message(SPAM, number=7),
        session="s2",
        sequence=3,
        previous=2,
        overlap=True,
    )
    assert (applied.status, tier(applied), applied.effects) == ("applied", None, ())
    assert len(log.cases()) == 1


def test_a_message_that_only_the_new_session_told_of_is_acted_on() -> None:
    log = cut_over()
    applied = log.dispatch(
        "MESSAGE_CREATE",
        message(SPAM, number=8),
        session="s2",
        sequence=3,
        previous=2,
        overlap=True,
    )
    assert tier(applied) is not None


def test_an_overlapping_dispatch_is_a_link_of_its_sessions_chain() -> None:
    log = cut_over()
    first = log.dispatch(
        "MESSAGE_CREATE", message(), session="s2", sequence=5, previous=2, overlap=True
    )
    again = log.dispatch(
        "MESSAGE_CREATE", message(), session="s2", sequence=5, previous=2, overlap=True
    )
    assert (first.status, first.alarm, again.status) == ("applied", "", "ignored")
