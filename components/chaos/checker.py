"""Holds everything that is known about a round against what must be so. Pure.

The kinds of violations are those of design.md ("What the measuring commands print"); each entry
names one thing that is wrong. What was checked is counted, for a zero over nothing says nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from components.chaos import owners, questions
from components.chaos.backups import Backups
from components.chaos.clients import Asked
from components.chaos.effects import check_effects
from components.chaos.oracle import Held, Replayed
from components.chaos.probes import Answered, ProbePost, deletions
from components.chaos.questions import Outage
from components.chaos.served import check_served
from components.chaos.states import compare
from components.chaos.timers import check_timers
from components.chaos.watching import Fence
from components.chaos.window import Stopped, without_window
from components.traffic.check import check
from components.traffic.evidence import Evidence
from components.traffic.journal import Posted
from contracts.ids import GuildId
from contracts.inputs import DiscordDispatch, interaction_id
from contracts.interactions import DEFERRED_CHANNEL_MESSAGE


class Violations(msgspec.Struct, kw_only=True):
    """What must be empty."""

    inputs_lost: list[str] = []
    effects_lost: list[str] = []
    effects_doubled: list[str] = []
    effects_stale_owner: list[str] = []
    facts_doubled: list[str] = []
    facts_missing: list[str] = []
    facts_out_of_order: list[str] = []
    acked_writes_missing: list[str] = []
    own_write_unseen: list[str] = []
    two_owners: list[str] = []
    state_differs: list[str] = []
    requests_failed: list[str] = []
    inputs_doubled: list[str] = []
    effects_parked: list[str] = []
    questions_unanswered: list[str] = []
    spec_violations: list[str] = []
    not_settled: list[str] = []
    """What the owners had not done when the round's deadline came."""

    def counts(self) -> dict[str, int]:
        """Kind to number."""
        return {name: len(getattr(self, name)) for name in self.__struct_fields__}

    def extend(self, other: "Violations") -> None:
        """Add another round's."""
        for name in self.__struct_fields__:
            getattr(self, name).extend(getattr(other, name))

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts().values())


class Checked(msgspec.Struct, kw_only=True):
    """Over how many items they were looked for."""

    inputs: int = 0
    effects: int = 0
    """That have a result."""
    effects_shown: int = 0
    """Results ``done`` that were held against Discord's record."""
    effects_moot: int = 0
    """Refused because the bot had removed the member meanwhile."""
    facts: int = 0
    requests: int = 0
    """Of clients: each is served, or has failed."""
    probe_answers: int = 0
    """Held against who owned the guild; that one stays away is measured, not judged."""
    removals: int = 0
    reports: int = 0
    nonces: int = 0
    """Messages of the bot's; with `threads`, `bans` and `kicks` what must be visible once."""
    threads: int = 0
    bans: int = 0
    kicks: int = 0
    fences: int = 0
    silences: int = 0
    """Of the round's guilds; acts and answers are held against both."""
    timers: int = 0
    """That fired."""
    acts: int = 0
    """Calls to Discord for the round's guilds, whose process is known."""
    acts_elsewhere: int = 0
    """Calls of known processes that name no guild of the round: nobody judges them."""
    writes: int = 0
    questions: int = 0
    questions_to_edges: int = 0
    """Of them, posted to an edge; the others came over a shard's session."""
    states_of_owners: int = 0
    """Owners' rows of a guild, compared with a replay up to their checkpoint."""
    states_of_followers: int = 0
    states_of_replicas: int = 0
    """In databases that were restored."""
    states_left: int = 0
    """Of pods that are neither: sources keep theirs, others are about to drop them."""
    replicas: int = 0
    """That were restored, with the full integrity check."""
    openings: int = 0
    moves: int = 0
    """That config accepted while there was traffic."""
    unowned: int = 0
    """Probed guilds that the fault struck whose time without an owner was measured."""
    in_window: int = 0
    """Requests of processes that were stopped between gate and socket (0006: not preventable)."""

    def add(self, other: "Checked") -> None:
        """Add another round's."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known about one round."""

    evidence: Evidence
    posted: Sequence[Posted]
    probe_posts: Sequence[ProbePost]
    answers: Sequence[Answered]
    asked: Sequence[Asked]
    shown: Sequence[dict[str, Any]]
    """How the questions of moderators stand."""
    down: Sequence[Outage]
    edges_down: Mapping[str, Sequence[Outage]] = {}
    """Questions that were posted to an edge, and when that one was down."""
    replays: Mapping[GuildId, Replayed]
    held: Mapping[GuildId, Sequence[Held]]
    guild_of_channel: Mapping[str, GuildId]
    fences: Mapping[tuple[str, str], Fence] = {}
    silences: Mapping[tuple[GuildId, int], float] = {}
    stopped: Sequence[Stopped] = ()
    unsettled: Sequence[str] = ()
    backups: Backups = Backups(restored=0, held={}, failures=[])


def check_round(history: History) -> tuple[Checked, Violations]:
    """All violations in a round, and what they were looked for in."""
    found = Violations(not_settled=list(history.unsettled))
    opened = owners.openings(history.evidence)
    acts, elsewhere = owners.acts(history.evidence.record, _places(history))
    stale = owners.stale_acts(acts, opened, history.fences, history.silences)
    stale, in_window = without_window(stale, history.stopped)
    left_late = {(one.act.what, one.act.at_ms) for one in in_window}
    counted, traffic = check(history.evidence, left_late)
    found.inputs_lost += traffic.inputs_lost + _posts_lost(history) + _deferred_lost(history)
    found.inputs_doubled += traffic.inputs_doubled
    timers = check_timers(history.evidence, history.replays)
    found.inputs_lost += timers.lost
    found.inputs_doubled += timers.doubled
    effects = check_effects(history.evidence, history.replays)
    found.effects_lost += traffic.effects_lost + traffic.reports_lost
    found.effects_lost += effects.lost + _probes_left(history)
    if counted.excused:
        found.effects_lost.append(f"{counted.excused} removals failed, as their cases say")
    found.effects_doubled += traffic.effects_doubled + traffic.reports_doubled + effects.unfounded
    found.effects_parked += traffic.effects_parked
    found.facts_doubled += traffic.facts_doubled
    found.facts_missing += traffic.facts_missing
    found.facts_out_of_order += traffic.facts_out_of_order
    found.spec_violations += traffic.spec_violations
    _check_facts(history, found)
    told = check_served(history.asked, history.evidence)
    found.requests_failed += told.failed
    found.acked_writes_missing += told.writes_missing
    found.own_write_unseen += told.unseen
    states = compare(history.replays, history.held, history.backups.held)
    found.state_differs += states.wrong + history.backups.failures
    found.effects_stale_owner += [
        f"{one.act.what} of guild {one.act.guild} by {one.act.pod}: {one.words}" for one in stale
    ]
    found.two_owners += owners.two_owners(history.evidence, opened, history.answers, history.asked)
    found.two_owners += owners.late_answers(
        history.answers, history.asked, opened, history.fences, history.silences
    )
    found.questions_unanswered += questions.wrong(
        history.shown, history.evidence.record, history.down, history.edges_down
    )
    begun_ms = min((post.posted_ms for post in history.posted), default=0)
    checked = Checked(
        inputs=counted.inputs,
        effects=counted.effects,
        effects_shown=effects.done,
        effects_moot=effects.moot,
        facts=counted.facts,
        requests=len(history.asked),
        probe_answers=len(history.answers),
        removals=counted.removals,
        reports=counted.reports,
        nonces=counted.nonces,
        threads=counted.threads,
        bans=counted.bans,
        kicks=counted.kicks,
        fences=sum(fence.seen_ms >= begun_ms for fence in history.fences.values()),
        silences=sum(guild in history.replays for guild, _ in history.silences),
        timers=timers.count,
        acts=len(acts),
        acts_elsewhere=elsewhere,
        writes=told.writes,
        questions=len(history.shown),
        questions_to_edges=len(history.edges_down),
        states_of_owners=states.owner,
        states_of_followers=states.follower,
        states_of_replicas=states.replica,
        states_left=states.left,
        replicas=history.backups.restored,
        openings=sum(len(all_of_it) for all_of_it in opened.values()),
        in_window=len(in_window),
    )
    return checked, found


def _places(history: History) -> owners.Places:
    """What calls may name: channels, and the tokens of the questions that were asked."""
    return owners.Places(
        guilds=frozenset(history.evidence.guilds),
        channels=history.guild_of_channel,
        tokens={one["token"]: GuildId(one["guild_id"]) for one in history.shown},
    )


def nothing_checked(checked: Checked, must: Iterable[str]) -> list[str]:
    """Of what a round must exercise, what it has not: its zeros would say nothing."""
    return [f"no {name} were checked" for name in must if getattr(checked, name) == 0]


def _posts_lost(history: History) -> list[str]:
    """Messages that were posted and are not on their guild's log."""
    on_log = {
        _message_of(item.body.data)
        for item in history.evidence.inputs
        if isinstance(item.body, DiscordDispatch) and item.body.event == "MESSAGE_CREATE"
    }
    posts = [(post.guild, post.message) for post in history.posted]
    posts += [(str(post.guild), post.message) for post in history.probe_posts]
    return [
        f"message {message} of guild {guild} is not on the log"
        for guild, message in posts
        if message not in on_log
    ]


def _deferred_lost(history: History) -> list[str]:
    """Questions that an edge deferred, which it does when they are on the log, and that are not."""
    on_log = {item.message_id for item in history.evidence.inputs}
    return [
        f"interaction {one['id']} of guild {one['guild_id']} is not on the log"
        for one in history.shown
        if one.get("answered_over") == "http"
        and one["answer"] == DEFERRED_CHANNEL_MESSAGE
        and interaction_id(one["id"]) not in on_log
    ]


class _Message(msgspec.Struct):
    id: str


def _message_of(data: msgspec.Raw) -> str:
    return msgspec.json.decode(data, type=_Message, strict=False).id


def _probes_left(history: History) -> list[str]:
    """Probes' messages that are not deleted."""
    gone = deletions(history.evidence.record)
    return [
        f"probe {post.message} of guild {post.guild} is not deleted"
        for post in history.probe_posts
        if post.message not in gone
    ]


def _check_facts(history: History, found: Violations) -> None:
    """The facts in EVENTS are those that a replay of the log gives."""
    for guild, replayed in history.replays.items():
        published = {
            (fact.input_sequence, fact.index, fact.type)
            for fact in history.evidence.facts
            if fact.guild == guild
        }
        missing = replayed.facts - published
        found.facts_missing += [f"{guild}-{s}-{i} ({kind})" for s, i, kind in sorted(missing)]
        # beyond what was replayed the log went on: those facts have inputs too
        unfounded = {fact for fact in published - replayed.facts if fact[0] <= replayed.last}
        found.facts_doubled += [
            f"{guild}-{s}-{i} ({kind}) derives from no input" for s, i, kind in sorted(unfounded)
        ]
