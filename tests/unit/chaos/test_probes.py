"""Times without an owner are measured from what probes noted."""

from components.chaos.probes import Answered, ProbePost, effect_gaps, read_gaps
from components.chaos.results import Percentiles, percentiles
from contracts.ids import GuildId

ONE, TWO = GuildId("1"), GuildId("2")


def answer(guild: GuildId, at_ms: float) -> Answered:
    return Answered(guild=guild, asked_ms=at_ms, at_ms=at_ms, epoch=1, applied=1)


def test_a_read_gap_is_the_longest_time_between_two_answers() -> None:
    answers = [answer(ONE, at) for at in (0, 100, 130, 1130, 1160, 2000)]
    assert read_gaps(answers, [ONE], 100, 1200) == [1.0]


def test_a_guild_that_never_answered_had_no_owner_all_the_time() -> None:
    assert read_gaps([answer(ONE, 500)], [ONE, TWO], 0, 1000) == [0.5, 1.0]


def test_an_effect_gap_is_the_longest_time_that_a_message_stayed_after_the_fault() -> None:
    posts = [
        ProbePost(guild=ONE, message="before", posted_ms=0),
        ProbePost(guild=ONE, message="early", posted_ms=900),
        ProbePost(guild=ONE, message="late", posted_ms=1100),
        ProbePost(guild=ONE, message="later", posted_ms=1200),
    ]
    deleted = {"before": 990.0, "early": 1050.0, "late": 3500.0, "later": 3400.0}
    assert effect_gaps(posts, deleted, [ONE, TWO], 1000) == [2.4]


def test_percentiles_of_nothing_are_nothing() -> None:
    assert percentiles([]) == Percentiles()
    assert percentiles([3.0, 1.0, 2.0]) == Percentiles(p50=2.0, p99=3.0, max=3.0, measured=3)
