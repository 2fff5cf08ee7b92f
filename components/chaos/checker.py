"""Holds everything that is known about a round against what must be so. Pure.

The kinds of violations are those of design.md ("What the measuring commands print"); each entry
names one thing that is wrong. What was checked is counted, for a zero over nothing says nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from components.chaos import owners, questions
from components.chaos.backups import Backups
from components.chaos.clients import Asked
from components.chaos.oracle import Held, Replayed
from components.chaos.probes import Answered, ProbePost, deletions
from components.chaos.questions import Outage
from components.chaos.window import Stopped, without_window
from components.traffic.check import check
from components.traffic.evidence import Evidence
from components.traffic.journal import Posted
from contracts.ids import GuildId
from contracts.inputs import CommandReceived, DiscordDispatch, EffectResult


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
    facts: int = 0
    requests: int = 0
    acts: int = 0
    """Calls to Discord whose process is known."""
    writes: int = 0
    questions: int = 0
    states: int = 0
    """Databases' rows of a guild, in pods and in restored replicas, compared with a replay."""
    replicas: int = 0
    """That were restored, with the full integrity check."""
    openings: int = 0
    moves: int = 0
    """That config accepted while there was traffic."""
    excused: int = 0
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
    replays: Mapping[GuildId, Replayed]
    held: Mapping[GuildId, Sequence[Held]]
    guild_of_channel: Mapping[str, GuildId]
    fences: Mapping[tuple[str, str], float] = {}
    silences: Mapping[tuple[GuildId, int], float] = {}
    stopped: Sequence[Stopped] = ()
    unsettled: Sequence[str] = ()
    backups: Backups = Backups(restored=0, held={}, failures=[])


def check_round(history: History) -> tuple[Checked, Violations]:
    """All violations in a round, and what they were looked for in."""
    found = Violations(not_settled=list(history.unsettled))
    counted, traffic = check(history.evidence)
    found.inputs_lost += traffic.inputs_lost + _posts_lost(history)
    found.inputs_doubled += traffic.inputs_doubled
    found.effects_lost += traffic.effects_lost + traffic.reports_lost + _effects_open(history)
    found.effects_doubled += traffic.effects_doubled + traffic.reports_doubled
    found.effects_parked += traffic.effects_parked
    found.facts_doubled += traffic.facts_doubled
    found.facts_missing += traffic.facts_missing
    found.facts_out_of_order += traffic.facts_out_of_order
    found.spec_violations += traffic.spec_violations
    _check_facts(history, found)
    writes = _check_requests(history, found)
    states = _check_states(history, found)
    found.state_differs += history.backups.failures
    opened = owners.openings(history.evidence)
    acts = owners.acts(history.evidence.record, history.guild_of_channel)
    stale = owners.stale_acts(acts, opened, history.fences, history.silences)
    stale, in_window = without_window(stale, history.stopped)
    found.effects_stale_owner += [
        f"{one.act.what} of guild {one.act.guild} by {one.act.pod}: {one.words}" for one in stale
    ]
    found.two_owners += owners.two_owners(history.evidence, opened, history.answers, history.asked)
    found.questions_unanswered += questions.wrong(
        history.shown, history.evidence.record, history.down
    )
    checked = Checked(
        inputs=counted.inputs,
        effects=counted.effects,
        facts=counted.facts,
        requests=len(history.asked) + len(history.answers),
        acts=len(acts),
        writes=writes,
        questions=len(history.shown),
        states=states,
        replicas=history.backups.restored,
        openings=sum(len(all_of_it) for all_of_it in opened.values()),
        excused=counted.excused,
        in_window=len(in_window),
    )
    return checked, found


def nothing_checked(checked: Checked) -> list[str]:
    """Kinds of which a round has checked nothing: its zeros would say nothing."""
    must = ("inputs", "effects", "facts", "requests", "acts", "writes", "states", "openings")
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


class _Message(msgspec.Struct):
    id: str


def _message_of(data: msgspec.Raw) -> str:
    return msgspec.json.decode(data, type=_Message, strict=False).id


def _effects_open(history: History) -> list[str]:
    """Effects that the log asks for and of which no result is on the log; probes' messages that
    are not deleted."""
    settled = {
        (item.guild, item.body.sequence, item.body.index)
        for item in history.evidence.inputs
        if isinstance(item.body, EffectResult)
    }
    lost = [
        f"effect {sequence}/{index} of guild {guild} has no result"
        for guild, replayed in history.replays.items()
        for sequence, index in sorted(replayed.effects)
        if (guild, sequence, index) not in settled
    ]
    gone = deletions(history.evidence.record)
    lost += [
        f"probe {post.message} of guild {post.guild} is not deleted"
        for post in history.probe_posts
        if post.message not in gone
    ]
    return lost


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


def _check_requests(history: History, found: Violations) -> int:
    stored = Counter(
        (item.guild, str(item.body.request_id), item.sequence)
        for item in history.evidence.inputs
        if isinstance(item.body, CommandReceived)
    )
    on_log = {(guild, request): sequence for guild, request, sequence in stored}
    acknowledged = 0
    newest: dict[tuple[str, GuildId], Asked] = {}
    writes: dict[GuildId, Asked] = {}
    for asked in sorted(history.asked, key=lambda asked: asked.ended_ms):
        name = f"{asked.client}'s {asked.kind} of guild {asked.guild}"
        if not asked.served:
            found.requests_failed.append(f"{name} via {asked.via}: {asked.words}")
            continue
        before = newest.get((asked.client, asked.guild))
        if asked.kind == "write":
            acknowledged += 1
            sequence = on_log.get((asked.guild, asked.request))
            if sequence is None or sequence > asked.applied:
                found.acked_writes_missing.append(f"{name}, request {asked.request}")
            writes[asked.guild] = asked
        else:
            if asked.applied < asked.min_applied:
                found.own_write_unseen.append(
                    f"{name}: read at {asked.applied}, had seen {asked.min_applied}"
                )
            written = writes.get(asked.guild)
            own = written is not None and written.client == asked.client
            if written is not None and own and asked.version < written.version:
                found.own_write_unseen.append(
                    f"{name}: version {asked.version}, had written {written.version}"
                )
            if before is not None and asked.version < before.version:
                found.own_write_unseen.append(
                    f"{name}: version {asked.version}, had read {before.version}"
                )
        newest[asked.client, asked.guild] = asked
    return acknowledged


def _check_states(history: History, found: Violations) -> int:
    """Every pod's rows of a guild are what a replay up to their checkpoint gives."""
    compared = 0
    for guild, replayed in history.replays.items():
        held = history.held.get(guild, ())
        if not held:
            found.state_differs.append(f"guild {guild}: no pod holds its rows")
        for rows in (*held, *history.backups.held.get(guild, ())):
            expected = replayed.dumps.get(rows.sequence)
            compared += 1
            if expected is None:
                found.state_differs.append(
                    f"guild {guild}: {rows.pod} is at {rows.sequence}, where no input is"
                )
            elif expected != rows.dump:
                difference = _difference(expected, rows.dump)
                found.state_differs.append(f"guild {guild}: {rows.pod}: {difference}")
    return compared


def _difference(expected: bytes, held: bytes) -> str:
    """The first row that differs, in words."""
    wanted, there = expected.splitlines(), held.splitlines()
    missing = [row for row in wanted if row not in set(there)]
    extra = [row for row in there if row not in set(wanted)]
    shown = " and has ".join(
        (rows[0][:200].decode(errors="replace") if rows else "nothing") for rows in (missing, extra)
    )
    return f"{len(missing)} rows missing, {len(extra)} too many; lacks {shown}"
