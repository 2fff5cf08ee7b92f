"""The plan: the same for the same seed, every text posted, regulars keep to one channel."""

from itertools import islice

from components.traffic.corpus import LabelledText
from components.traffic.plan import posts

TEXTS = [LabelledText(f"ham {n}", "ham") for n in range(200)] + [
    LabelledText(f"spam {n}", "spam") for n in range(100)
]


def test_the_same_seed_gives_the_same_plan_and_another_seed_another() -> None:
    plans = [list(posts(TEXTS, guilds=5, regulars=40, seed=seed)) for seed in (1, 1, 2)]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]


def test_every_text_is_posted_and_campaigns_use_three_channels_at_once() -> None:
    plan = list(posts(TEXTS, guilds=5, regulars=40, seed=1))
    assert {post.text for post in plan} == {text.text for text in TEXTS}
    campaigns = [post for post in plan if post.role == "campaign"]
    assert campaigns
    for first, second, third in zip(*[iter(campaigns)] * 3, strict=True):
        assert first.text == second.text == third.text
        assert first.author == second.author == third.author
        assert len({first.channel, second.channel, third.channel}) == 3


def test_regulars_keep_to_one_channel_and_newcomers_are_new_each_time() -> None:
    plan = list(posts(TEXTS, guilds=5, regulars=40, seed=1))
    channels: dict[tuple[int, int], set[int]] = {}
    for post in plan:
        if post.role == "regular":
            channels.setdefault((post.guild, post.author), set()).add(post.channel)
            assert post.label == "ham"
    assert all(len(used) == 1 for used in channels.values())
    newcomers = [(p.guild, p.author) for p in plan if p.role == "newcomer"]
    assert len(newcomers) == len(set(newcomers))


def test_an_endless_plan_goes_on() -> None:
    plan = posts(TEXTS[:3], guilds=1, regulars=1, seed=1, rounds=None)
    assert len(list(islice(plan, 50))) == 50
