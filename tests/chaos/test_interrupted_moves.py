"""A planned move is interrupted: at each of its steps the source, the target, config's leader or
the NATS node to which the next step is written is killed. Each time the move finishes or is taken
back by itself: one pod owns the guild, another follows, nobody is left joining, nothing
acknowledged is lost.

Whoever makes the next step is stopped right before its write while the victim is killed, so that
the moment is exact. `make test` plays one victim a step, chosen by ``MODBOT_CHAOS_SEED``;
`make chaos` sets ``MODBOT_CHAOS_MOVES=all`` and plays every one.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
import pytest_asyncio
from nats.aio.msg import Msg

from components.chaos.inside.steps import Step
from components.chaos.oracle import held_by, replay
from components.restoring.owner import ask
from contracts import headers, storage, subjects
from contracts.ids import GuildId
from contracts.inputs import Actor
from contracts.message import encode
from contracts.requests import GetSettings, PutSettings, SettingsView
from contracts.settings import GuildSettings, SpamSettings
from tests.chaos.stopping import Town, town_with
from tests.integration.live.guild import new_guild

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

STEPS = ("joining", "holds", "epoch", "released", "silent")
"""What has been written last when the victim is killed (docs/decisions/0006, steps 13 to 16)."""
VICTIMS = ("source", "target", "leader")
SEED = int(os.environ.get("MODBOT_CHAOS_SEED", "1"))
ALL = os.environ.get("MODBOT_CHAOS_MOVES") == "all"

FINISHED, TAKEN_BACK, FOLLOWER = "finished", "taken back", "the follower went on"
ENDS = {
    # Before anybody has decided, a target that dies is given up, and a source that dies leaves a
    # follower, from which the guild is moved on.
    ("joining", "source"): FINISHED,
    ("joining", "target"): TAKEN_BACK,
    # The leader has decided, its write is on its way: a target that dies is an owner that dies.
    ("holds", "source"): FINISHED,
    ("holds", "target"): FOLLOWER,
    ("epoch", "source"): FINISHED,
    ("epoch", "target"): FOLLOWER,
    ("released", "source"): FINISHED,
    ("released", "target"): FOLLOWER,
    ("silent", "source"): FINISHED,
    ("silent", "target"): FOLLOWER,
    **{(step, "leader"): FINISHED for step in STEPS},
}


def _played() -> list[tuple[str, str]]:
    """The combinations: all, or one victim a step such that each victim is among them."""
    dice = random.Random(SEED)
    order = dice.sample(VICTIMS, len(VICTIMS))
    one_each = [(step, order[number % len(order)]) for number, step in enumerate(STEPS)]
    return [(step, victim) for step in STEPS for victim in VICTIMS] if ALL else one_each


class Move:
    """One move, of one guild, from its owner to the pod that neither owns nor follows it."""

    def __init__(self, town: Town, guild: GuildId, leader: str) -> None:
        arena = town.arena
        self.guild = guild
        self.source, self.follower = arena.owner(guild), arena.follower(guild)
        (self.target,) = set(arena.replicas("gateway")) - {self.source, self.follower}
        self.leader = leader
        self.epoch = town.watched.assignments[guild].epoch

    def next_write(self, step: str) -> tuple[str, Step] | None:
        """Who makes the step after this one, and by which write; None after the last."""
        guild = self.guild
        return {
            "joining": (
                self.target,
                Step(bucket=storage.HANDOFFS, key=f"holds.{guild}.{self.target}"),
            ),
            "holds": (
                self.leader,
                Step(bucket=storage.GUILDS, key=guild, has=f'"epoch":{self.epoch + 1},'),
            ),
            "epoch": (self.source, Step(bucket=storage.HANDOFFS, key=f"released.{guild}")),
            "released": (self.source, Step(bucket=storage.HANDOFFS, key=f"silent.{guild}")),
        }.get(step)

    def outcome(self, owner: str) -> str:
        """What became of it, by who owns the guild in the end."""
        ends = {self.target: FINISHED, self.source: TAKEN_BACK, self.follower: FOLLOWER}
        return ends[owner]


async def interrupted(town: Town, move: Move, step: str, victim: str) -> None:
    """Order the move, and kill the victim when the step has been written and the next has not."""
    arena, following = town.arena, move.next_write(step)
    if following is None:
        await town.move(move.guild, move.target)
        await town.seen(
            lambda: (move.guild, move.epoch) in town.watched.silences(),
            f"{move.source} is silent",
        )
        arena.kill(victim)
        return
    name, write = following
    async with town.stopped(name, write) as is_stopped:
        await town.move(move.guild, move.target)
        await arena.until(is_stopped, f"{name} stops before it writes {write.key}")
        arena.kill(victim)


async def answered_once(town: Town, guild: GuildId) -> Callable[[], int]:
    """Ask the guild a question whose every answer is counted; wait for the first."""
    answers: list[Msg] = []
    first = asyncio.Event()

    async def count(message: Msg) -> None:
        answers.append(message)
        first.set()

    inbox = town.bus.client.new_inbox()
    await town.bus.listen(inbox, count)
    await town.bus.say(subjects.request(guild, GetSettings.verb), encode(GetSettings()), {}, inbox)
    async with asyncio.timeout(10):
        await first.wait()
    assert headers.SERVICE_ERROR not in (answers[0].headers or {}), answers[0].headers
    return lambda: len(answers)


async def rows_equal_a_replay(town: Town, guild: GuildId) -> None:
    """The owner's and the follower's rows are what the guild's log gives."""
    arena = town.arena
    pods = [arena.owner(guild), arena.follower(guild)]
    held = [held_by(arena.data(pod), guild) for pod in pods]
    rows = [one for one in held if one is not None]
    assert [one.pod for one in rows] == pods
    expected = await replay(town.bus, guild, at={one.sequence for one in rows})
    for one in rows:
        assert one.dump == expected.dumps[one.sequence], one.pod


async def a_served_guild(town: Town, name: str) -> tuple[GuildId, SettingsView]:
    """A new guild with an owner, a follower, and a write that was acknowledged."""
    made = await new_guild(town.arena.live, name)
    guild = GuildId(str(made.id))
    await town.settled(guild)
    own = GuildSettings(spam=SpamSettings(timeout_s=3600 + int(guild) % 997))
    request = PutSettings(
        actor=Actor(kind="operator", id="test"), settings=msgspec.Raw(encode(own))
    )
    return guild, await ask(town.bus, guild, request, SettingsView)


async def serves_as_before(town: Town, guild: GuildId, written: SettingsView) -> None:
    """The guild is owned, followed, answers once, and has what was written before."""
    await town.over(guild)
    await town.settled(guild)
    count = await answered_once(town, guild)
    assert await ask(town.bus, guild, GetSettings(), SettingsView) == written
    await rows_equal_a_replay(town, guild)
    assert count() == 1, "one pod answers"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """Three pods, two replicas of config, one NATS server."""
    async with town_with(tmp_path_factory.mktemp("moves"), "--gateways", "3") as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town_on_three_nodes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """The same on a NATS cluster."""
    folder = tmp_path_factory.mktemp("nodes")
    async with town_with(folder, "--gateways", "3", "--nats", "3") as running:
        yield running


@pytest.mark.parametrize(("step", "victim"), _played())
async def test_a_move_whose_process_is_killed_at_a_step_ends_by_itself(
    town: Town, step: str, victim: str
) -> None:
    await town.arena.whole()
    guild, written = await a_served_guild(town, f"{step}-{victim}")
    move = Move(town, guild, await town.leader())
    name = {"source": move.source, "target": move.target, "leader": move.leader}[victim]
    before = town.arena.worker(name)

    await interrupted(town, move, step, name)
    await town.arena.restarted(name, before)
    await town.arena.whole()
    await serves_as_before(town, guild, written)
    outcome = move.outcome(town.arena.owner(guild))
    print(f"{step} written, {victim} {name} killed: {outcome}")
    assert outcome == ENDS[step, victim]


@pytest.mark.parametrize("step", STEPS if ALL else [random.Random(SEED).choice(STEPS)])
async def test_a_move_during_which_the_node_that_takes_its_next_step_is_killed_finishes(
    town_on_three_nodes: Town, step: str
) -> None:
    town = town_on_three_nodes
    await town.arena.whole()
    guild, written = await a_served_guild(town, f"{step}-node")
    move = Move(town, guild, await town.leader())
    following = move.next_write(step)
    node = await town.node(following[1].bucket if following is not None else storage.GUILDS)
    before = town.arena.pid(node)

    await interrupted(town, move, step, node)
    await town.arena.restarted(node, before)
    await town.arena.whole()
    await serves_as_before(town, guild, written)
    assert move.outcome(town.arena.owner(guild)) == FINISHED
