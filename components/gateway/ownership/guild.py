"""One guild on one pod: from nothing to its rows, from following to owning, and back.

```
absent ─► building ─► following ◄─► waiting ─► opening ─► open
  ▲                       │  ▲                    │         │
  └─ dropping ◄─ kept ◄───┘  └────── StopOwning ──┴─────────┘
```
``broken`` and, for an owner, ``refused``: the log does not continue what could be had of the rows.
``kept``: the rows are on disk and not followed. ``waiting``: the owner by the assignment, until
every earlier owner has let go. Effects are a second state beside ``open``: held, comparing, open.
What an ended epoch still owes to others (`released`, `silent`) is kept apart: it goes on while the
guild is already followed, or owned anew.
"""

from typing import Final, Literal

import msgspec

from components.gateway.ownership import commands as ask
from components.gateway.ownership.commands import Command, Role, Source
from components.gateway.ownership.debts import Debts
from components.ownership.evidence import Evidence
from contracts.ids import Epoch, GuildId, Incarnation, PodId
from contracts.records import Assignment, EarlierOwner

Phase = Literal[
    "absent",
    "kept",
    "building",
    "following",
    "waiting",
    "opening",
    "open",
    "broken",
    "refused",
    "dropping",
]
Effects = Literal["held", "comparing", "open"]
Named = Literal["own", "follow", "source", "nothing"]

ACTING: frozenset[Phase] = frozenset({"opening", "open", "refused"})
REFUSED_AGAIN_S: Final = 30.0
"""A refused guild is looked at again so often: a pod that has its rows may have come back."""
CRASHED = frozenset({"promoted", "restored", "replaced"})
"""Causes of an epoch whose former owner ended without letting go: an input may be why. One that is
``restarted`` on its own disk knows from there how it ended (`Applier.unclean`)."""
PLANNED = frozenset({"moved", "drained", "rebalanced", "pinned"})
"""Causes of an epoch that config begins for a few guilds of a pod at a time: for the next ones it
waits until these say that they are open."""


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """This start of this pod."""

    pod: PodId
    incarnation: Incarnation
    data: str
    replica: str = ""
    """Where this start's database is backed up to; empty: nowhere."""


class GuildMachine:
    """The guild. `step` is called after everything that may concern it."""

    def __init__(self, guild: GuildId, me: Me, evidence: Evidence, *, on_disk: bool) -> None:
        self.guild = guild
        self.assignment: Assignment | None = None
        self.revision = 0
        self.phase: Phase = "kept" if on_disk else "absent"
        self.epoch = Epoch(0)
        """The epoch at which the pod acts or waits to."""
        self.effects: Effects = "held"
        self.reason = ""
        """Why the guild is not served; empty when nothing speaks against it."""
        self._me = me
        self._evidence = evidence
        self._stopping = False
        self._newest = Epoch(0)
        """The highest epoch met on the log."""
        self._ticket = 0
        self._opened_by = -1
        """The ticket under which `OwnerOpened` was appended after everybody's silence."""
        self._awaiting = False
        """Requests are taken and wait for `waiting` to end."""
        self._under_way: set[Epoch] = set()
        """Own epochs whose requests to Discord may not have ended."""
        self._debts = Debts(guild)
        self._opened_after: list[EarlierOwner] = []
        """The earlier owners that the epoch named when it began here."""
        self._source: Source = "disk"
        self._replayed = 0
        self._told: dict[Role, float] = {}
        self._holds: tuple[Role, Epoch] | None = None
        """What was reported last, and for which epoch."""
        self._joined_ms = 0
        """`Joining.since_ms` of what was answered last."""
        self._asked_drop = -1
        self._retry_at_s: float | None = None
        """When rows that were not to be had are looked for again."""

    # Questions

    @property
    def acting(self) -> Epoch | None:
        """The epoch at which the pod may act."""
        return self.epoch if self.phase in ACTING else None

    @property
    def named(self) -> Named:
        """As what the assignment names this pod; without one its rows are kept."""
        return self._named_by(self.assignment)

    def _named_by(self, a: Assignment | None) -> Named:
        me = self._me
        if a is None:
            return "source"
        if (a.pod, a.incarnation) == (me.pod, me.incarnation):
            return "own"
        if any(
            one is not None and (one.pod, one.incarnation) == (me.pod, me.incarnation)
            for one in (a.follower, a.joining)
        ):
            return "follow"
        if any(source.data == me.data for source in a.sources):
            return "source"
        # Named by an earlier start: the leader, or a re-adoption, may count on the rows.
        holders = (a.pod, *(one.pod for one in (a.follower, a.joining) if one is not None))
        return "source" if me.pod in holders else "nothing"

    @property
    def settled(self) -> bool:
        """Nothing here waits for proofs or for time."""
        if self._debts or self.phase in ("waiting", "broken", "refused"):
            return False
        return not (self.phase == "open" and self.effects == "held")

    @property
    def owes(self) -> bool:
        """Others wait for a word, or a request to Discord may be under way."""
        return bool(self._debts or self._under_way)

    @property
    def can_go(self) -> bool:
        """Nothing here is worth remembering."""
        return self.phase == "absent" and not self.owes and self.named in ("source", "nothing")

    def waits_for(self, now_s: float) -> list[tuple[EarlierOwner, str]]:
        """The earlier owners that hold up opening or effects, and what is missing of each."""
        missing: list[tuple[EarlierOwner, str]] = []
        if self.phase == "waiting":
            missing += [(e, "release") for e in self._before() if not self._let_go(e)]
        elif self.phase in ACTING:
            missing += [(e, "silence") for e in self._before() if not self._silent(e, now_s)]
        return missing

    def wake_at_s(self, now_s: float) -> float | None:
        """When time alone may change something."""
        earlier = [] if self.phase not in ("waiting", "opening", "open") else list(self._before())
        earlier += self._debts.earlier
        times = [at for one in earlier if (at := self._evidence.silent_from_s(one)) and at > now_s]
        if self._retry_at_s is not None and self._retry_at_s > now_s:
            times.append(self._retry_at_s)
        return min(times, default=None)

    # What happens

    def assigned(self, assignment: Assignment | None, revision: int, now_s: float) -> None:
        """The bucket's entry; one that is older than the known one is ignored."""
        if revision < self.revision:
            return
        known, self.assignment, self.revision = self.assignment, assignment, revision
        if self._retry_at_s is not None and _whereabouts(known) != _whereabouts(assignment):
            self._retry_at_s = now_s
        named = self.named
        if named == "own":
            if known is None or assignment is None or known.epoch != assignment.epoch:
                self._told["own"] = now_s
        elif named == "follow":
            if (asked := self._asked(assignment)) and asked != self._asked(known):
                self._told["follow"] = now_s
            self._told.setdefault("follow", now_s)
        else:
            self._told.pop("follow", None)

    def stop(self) -> None:
        """The pod stops: act for nothing, apply nothing."""
        self._stopping = True

    def link_lost(self) -> list[Command]:
        """Effects wait until the end of the log was read over the next connection."""
        self._ticket += 1
        if self.effects == "held":
            return []
        self.effects = "held"
        return [ask.HoldEffects(guild=self.guild, epoch=self.epoch)]

    def built(self, source: Source, replayed: int) -> None:
        """The rows are here and the log is being applied."""
        if self.phase == "building":
            self.phase = "following"
            self.reason = ""
            self._source, self._replayed = source, replayed
            self._holds = None

    def not_built(self, reason: str) -> list[Command]:
        """Nothing that this pod has or can get continues the guild's log."""
        held: list[Command] = []
        if self.phase in ACTING:
            if self.effects != "held":
                held.append(ask.HoldEffects(guild=self.guild, epoch=self.epoch))
            self.effects = "held"
            self._ticket += 1
            self.phase = "refused"
            held.append(ask.Refuse(guild=self.guild, epoch=self.epoch, reason=reason))
        elif self.phase in ("building", "following", "waiting"):
            self.phase = "broken"
        self.reason = reason
        return held

    def epoch_on_log(self, epoch: Epoch) -> None:
        """An `OwnerOpened` was applied, or a fact of that epoch was found."""
        self._newest = max(self._newest, epoch)

    def caught_up(self, epoch: Epoch, replayed: int) -> list[Command]:
        """Everything up to our `OwnerOpened` is applied."""
        if self.phase != "opening" or epoch != self.epoch:
            return []
        self.phase = "open"
        self._replayed = replayed
        todo: list[Command] = [ask.Serve(guild=self.guild, epoch=epoch)]
        if self._opened_by == self._ticket:
            self.effects = "open"
            todo.append(ask.OpenEffects(guild=self.guild, epoch=epoch))
        return todo

    def compared(self, ticket: int) -> list[Command]:
        """The log was applied up to an end that was read after the ticket was given."""
        if self.phase != "open" or self.effects != "comparing" or ticket != self._ticket:
            return []
        self.effects = "open"
        return [ask.OpenEffects(guild=self.guild, epoch=self.epoch)]

    def effects_ended(self, epoch: Epoch) -> None:
        """No request to Discord of our own epoch is under way, and none begins."""
        self._under_way.discard(epoch)

    def released_written(self, epoch: Epoch) -> None:
        """``released.<guild>`` is at this epoch or a later one."""
        self._debts.released_written(epoch)

    def silent_written(self, epoch: Epoch) -> None:
        """``silent.<guild>`` is at this epoch or a later one."""
        self._debts.silent_written(epoch)

    def drop_confirmed(
        self, assignment: Assignment | None, revision: int, now_s: float
    ) -> list[Command]:
        """The assignment as the bucket's leader has it now."""
        self.assigned(assignment, revision, now_s)
        if self.phase != "kept" or self.named != "nothing" or self.owes or self._stopping:
            return []
        if self._named_by(assignment) != "nothing":
            return []  # a bucket that was lost: its revisions begin anew, before the known one
        self.phase = "dropping"
        return [ask.DropRows(guild=self.guild)]

    def dropped(self) -> None:
        """The rows are gone."""
        if self.phase == "dropping":
            self.phase = "absent"

    # What follows

    def step(self, now_s: float, *, confirmed: bool) -> list[Command]:
        """The commands that follow; ``confirmed``: the connection may be acted on."""
        todo: list[Command] = []
        named: Named = "source" if self._stopping else self.named
        if self.phase in ACTING and not self._still_ours(named):
            todo += self._stop_owning()
        if named == "own":
            todo += self._look_again(now_s)
        if self.phase == "waiting" and not self._wanted(named):
            self.phase = "following"
        if named in ("own", "follow"):
            todo += self._be_here(named, now_s)
        elif self.phase in ("building", "following", "broken"):
            self.phase = "kept"
            todo.append(ask.StopFollowing(guild=self.guild))
        todo += self._await_requests()
        if self.phase == "open" and self.effects == "held" and confirmed:
            todo += self._compare(now_s)
        todo += self._pay(now_s)
        drop = self.phase == "kept" and named == "nothing" and not self.owes
        if drop and self._asked_drop != self.revision and confirmed:
            self._asked_drop = self.revision
            self._holds = None
            todo.append(ask.ConfirmDrop(guild=self.guild))
        return todo

    def _await_requests(self) -> list[Command]:
        awaited, self._awaiting = self._awaiting, self.phase == "waiting"
        if self._awaiting and not awaited:
            return [ask.AwaitRequests(guild=self.guild)]
        if awaited and not self._awaiting and self.phase not in ACTING:
            return [ask.TurnAway(guild=self.guild)]
        return []

    def _look_again(self, now_s: float) -> list[Command]:
        if self.phase not in ("broken", "refused"):
            self._retry_at_s = None
            return []
        if self._retry_at_s is None:
            self._retry_at_s = now_s + REFUSED_AGAIN_S
        if now_s < self._retry_at_s or self.assignment is None:
            return []
        self._retry_at_s = None
        self.phase = "building"
        return [ask.Build(guild=self.guild, assignment=self.assignment)]

    def _still_ours(self, named: Named) -> bool:
        a = self.assignment
        return named == "own" and a is not None and a.epoch == self.epoch >= self._newest

    def _wanted(self, named: Named) -> bool:
        a = self.assignment
        return named == "own" and a is not None and a.epoch >= self._newest

    def _stop_owning(self) -> list[Command]:
        epoch = self.epoch
        self._owe(epoch)
        self.phase = "kept" if self.phase == "refused" else "following"
        self.effects = "held"
        self._ticket += 1
        return [ask.StopOwning(guild=self.guild, epoch=epoch)]

    def _be_here(self, named: Literal["own", "follow"], now_s: float) -> list[Command]:
        a = self.assignment
        assert a is not None  # it names us
        todo: list[Command] = []
        if self.phase in ("absent", "kept") or (self.phase == "broken" and named == "follow"):
            self.phase = "building"
            todo.append(ask.Build(guild=self.guild, assignment=a))
        if named != "own" or a.epoch < self._newest:
            return todo + self._report(now_s)
        if self.phase == "following":
            self.phase = "waiting"
        if self.phase in ("waiting", "broken") and all(map(self._let_go, a.before)):
            self.epoch = a.epoch
            self._opened_after = a.before
            if self.phase == "waiting":
                todo += self._open(a, now_s)
            else:
                self.phase = "refused"
                todo.append(ask.Refuse(guild=self.guild, epoch=a.epoch, reason=self.reason))
        return todo + self._report(now_s)

    def _open(self, a: Assignment, now_s: float) -> list[Command]:
        self.phase = "opening"
        self.effects = "held"
        self._ticket += 1
        self._under_way.add(a.epoch)
        all_silent = all(self._silent(earlier, now_s) for earlier in a.before)
        self._opened_by = self._ticket if all_silent else -1
        careful = a.cause in CRASHED
        return [ask.AppendOpened(guild=self.guild, epoch=a.epoch, careful=careful)]

    def _report(self, now_s: float) -> list[Command]:
        """The word to others that the rows are here, once for each way of holding them."""
        role: Role
        if self.phase == "open" and self.assignment is not None:
            role, epoch = "own", self.epoch
        elif self.phase == "following" and self.assignment is not None:
            role, epoch = "follow", self.assignment.epoch
            answered = self._asked(self.assignment) in (0, self._joined_ms)
            if self._holds is not None and self._holds[0] == "follow" and answered:
                return []
            self._holds = None
        else:
            return []
        if self._holds == (role, epoch):
            return []
        self._holds = (role, epoch)
        self._joined_ms = self._asked(self.assignment)
        took_s = now_s - self._told.get(role, now_s)
        return [
            ask.WriteHolds(
                guild=self.guild,
                role=role,
                epoch=epoch,
                source=self._source,
                took_ms=round(took_s * 1000),
                replayed=self._replayed,
                joined_ms=self._joined_ms,
                soon=role == "follow" or self.assignment.cause in PLANNED,
            )
        ]

    def _compare(self, now_s: float) -> list[Command]:
        if not all(self._silent(earlier, now_s) for earlier in self._before()):
            return []
        self._ticket += 1
        self.effects = "comparing"
        return [ask.CompareEnd(guild=self.guild, epoch=self.epoch, ticket=self._ticket)]

    # Earlier epochs

    def _before(self) -> list[EarlierOwner]:
        return self.assignment.before if self.assignment is not None else []

    def _mine(self, earlier: EarlierOwner) -> bool:
        return (earlier.pod, earlier.incarnation) == (self._me.pod, self._me.incarnation)

    def _let_go(self, earlier: EarlierOwner) -> bool:
        if self._mine(earlier):
            return self.acting is None or self.acting > earlier.epoch
        return bool(self._evidence.let_go(self.guild, earlier))

    def _asked(self, a: Assignment | None) -> int:
        """When this pod was asked to join (`Joining.since_ms`); 0: it is not."""
        joining = a.joining if a is not None else None
        if joining is None or joining.pod != self._me.pod:
            return 0
        return joining.since_ms if joining.incarnation == self._me.incarnation else 0

    def _silent(self, earlier: EarlierOwner, now_s: float) -> bool:
        if self._mine(earlier):
            return not any(epoch <= earlier.epoch for epoch in self._under_way)
        return bool(self._evidence.silent(self.guild, earlier, now_s))

    def _pay(self, now_s: float) -> list[Command]:
        for earlier in self._before():
            # Also of an epoch at which this pod never saw that it was the owner.
            if self._mine(earlier) and self.acting != earlier.epoch:
                self._owe(earlier.epoch)
        a = self.assignment
        return self._debts.due(
            self._let_go,
            lambda earlier: self._silent(earlier, now_s),
            lambda epoch: not any(own <= epoch for own in self._under_way),
            a.pod if a is not None and a.pod != self._me.pod else None,
        )

    def _owe(self, epoch: Epoch) -> None:
        a = self.assignment
        # Of a later assignment the leader has left out whom it knows to be silent.
        before = a.before if a is not None and a.epoch > epoch else self._opened_after
        self._debts.owe(epoch, [one for one in before if one.epoch < epoch])


def _whereabouts(a: Assignment | None) -> object:
    """Where rows may be."""
    return None if a is None else (a.follower, a.before, a.sources)
