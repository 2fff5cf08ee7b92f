"""Who posts which text where: a plan made of texts and a seed, the same for the same seed.

The members are people whom a moderator would recognise: regulars, who have been in the guild for
long and keep to one channel; newcomers, whose account is hours old; and campaigns, newcomers who
post one text in several channels. A text keeps its label, so that the report can say what was
caught and whom it hit wrongly.
"""

import random
from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

from components.traffic.corpus import LabelledText

Role: TypeAlias = Literal["regular", "newcomer", "campaign"]

CHANNELS = ("general", "help", "off-topic", "showcase", "deals")
CAMPAIGN_SHARE = 0.5
"""Of the harmful texts, how many are posted as campaigns; the rest are posted once."""
NEWCOMER_SHARE = 0.05
"""Of the harmless texts, how many come from newcomers: the people a filter hits wrongly."""


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """One message to post. ``guild``, ``author`` and ``channel`` are positions in their lists;
    authors are numbered per guild and role."""

    text: str
    label: str
    guild: int
    role: Role
    author: int
    channel: int


def posts(
    texts: list[LabelledText], *, guilds: int, regulars: int, seed: int, rounds: int | None = 1
) -> Iterator[Post]:
    """The posts in order; ``rounds`` None repeats the texts for ever, in a new order each time.

    ``regulars`` is the number of regular members a guild has to share the harmless texts.
    """
    dice = random.Random(seed)
    newcomers = [0] * guilds
    turn = 0
    while rounds is None or turn < rounds:
        for text in dice.sample(texts, len(texts)):
            guild = dice.randrange(guilds)
            role = _role(dice, text)
            if role == "regular":
                author = dice.randrange(regulars)
                channels = [author % len(CHANNELS)]
            else:
                author, newcomers[guild] = newcomers[guild], newcomers[guild] + 1
                count = 3 if role == "campaign" else 1
                channels = dice.sample(range(len(CHANNELS)), count)
            for channel in channels:
                yield Post(
                    text=text.text,
                    label=text.label,
                    guild=guild,
                    role=role,
                    author=author,
                    channel=channel,
                )
        turn += 1


def _role(dice: random.Random, text: LabelledText) -> Role:
    if text.harmful:
        return "campaign" if dice.random() < CAMPAIGN_SHARE else "newcomer"
    return "newcomer" if dice.random() < NEWCOMER_SHARE else "regular"
