"""A new leader moves nothing before it knows what the last one knew."""

from components.config.balance import GuildLoad, PodRoom, plan
from components.config.beginning import Beginning
from components.config.view import View
from contracts import storage
from contracts.ids import GuildId, PodId
from contracts.records import GuildLoad as Reported
from contracts.records import PodLoads
from tests.unit.config.town import Town, start

EVERY_S = 10.0


def reports(town: Town, pod: str, number: int = 1, *, heavy: str = "", light: str = "") -> None:
    """What a pod says of its guilds."""
    guilds = [
        Reported(guild=GuildId(guild), events_per_s=rate, over_s=120.0)
        for rate, names in ((56.0, heavy.split()), (0.5, light.split()))
        for guild in names
    ]
    loads = PodLoads(pod=PodId(pod), incarnation=start(number), at_ms=1, guilds=guilds)
    town.put(storage.LOADS, pod, loads)


def begun(town: Town) -> Beginning:
    beginning = Beginning(EVERY_S)
    beginning.begin(town.now_s)
    return beginning


def over(beginning: Beginning, town: Town) -> bool:
    return beginning.is_over(town.now_s, town.view.pods, town.view.weights)


def test_one_interval_of_balancing_passes_although_all_have_reported() -> None:
    town = Town()
    town.pod("a")
    reports(town, "a")
    beginning = begun(town)
    town.now_s += EVERY_S - 0.1
    assert not over(beginning, town)
    town.now_s += 0.1
    assert over(beginning, town)


def test_every_serving_pod_is_waited_for_until_its_present_start_has_reported() -> None:
    town = Town()
    town.pod("a")
    town.pod("b", 2)
    town.pod("c", state="draining")
    town.pod("d")
    town.expire("d")
    reports(town, "a")
    reports(town, "b", 1)
    beginning = begun(town)
    town.now_s += 100
    assert not over(beginning, town), "b has started anew and not reported since"
    reports(town, "b", 2)
    assert over(beginning, town)


def test_what_has_begun_does_not_begin_again_when_a_pod_comes_but_when_leadership_does() -> None:
    town = Town()
    town.pod("a")
    reports(town, "a")
    beginning = begun(town)
    town.now_s += EVERY_S
    assert over(beginning, town)
    town.pod("b")
    assert over(beginning, town)
    beginning.begin(town.now_s)
    assert not over(beginning, town)


def planned(view: View) -> int:
    """How many moves of owners the leader of this view would make."""
    rooms = [PodRoom(pod=pod, capacity=100) for pod in view.pods]
    guilds = [
        GuildLoad(
            guild=guild,
            weight=view.weights.of(guild),
            doubt=view.weights.doubt_of(guild),
            owner=held.assignment.pod,
            follower=held.assignment.follower.pod if held.assignment.follower else None,
        )
        for guild, held in view.assignments.items()
    ]
    return sum(move.kind == "own" for move in plan(rooms, guilds).moves)


def test_a_new_leader_that_waits_moves_nothing_of_what_the_last_one_had_spread_by_weight() -> None:
    town = Town()
    town.pod("a")
    town.pod("b")
    heavy, light = "1 2", " ".join(map(str, range(3, 100)))
    for guild in heavy.split():
        town.owned(guild, "a")
    for guild in light.split():
        town.owned(guild, "b")
    beginning = begun(town)
    town.now_s += EVERY_S
    assert planned(town.view) > 40, "it would: to it all guilds weigh the same"
    assert not over(beginning, town)
    reports(town, "a", heavy=heavy)
    assert not over(beginning, town)
    reports(town, "b", light=light)
    assert over(beginning, town)
    assert planned(town.view) == 0
