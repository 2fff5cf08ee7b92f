"""The pod: its lease, its connection, and the guilds that the assignments name it for.

Every method that returns commands may be called at any time, with the pod's own steady clock.
After each call `wake_at_s` says when `tick` is due at the latest; `refusal` is the gate, to be
asked where bytes leave (0006, steps 1 to 4).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from components.gateway.ownership import commands as ask
from components.gateway.ownership.commands import Command, Permit, Source
from components.gateway.ownership.guild import GuildMachine, Me
from components.ownership import changes
from components.ownership.evidence import Evidence
from components.ownership.lease import LeaseClock
from contracts.ids import Epoch, GuildId
from contracts.records import (
    Assignment,
    EarlierOwner,
    PodLease,
    ProcessEnd,
    Released,
    Silent,
    StateSource,
)

RENEW_EVERY_S: Final = 1.0
RENEW_AGAIN_S: Final = 0.05
"""The shortest pause before a renewal that failed is tried again."""
ELECTED_WITHIN_S: Final = 1.0
"""A replica of config that is there takes a leader's lease that was given back or has run out
within milliseconds."""
BEHIND_S: Final = 0.3
"""So long may the watch be behind the bucket's end before all assignments are read again."""


class PodMachine:
    """One start of one pod, from the moment it has named its incarnation in its lease."""

    def __init__(
        self,
        me: Me,
        *,
        ttl_s: float,
        margin_s: float,
        leader_ttl_s: float = 5.0,
        on_disk: Iterable[GuildId] = (),
    ) -> None:
        self.me = me
        self.lease = LeaseClock(ttl_s=ttl_s, margin_s=margin_s)
        self.evidence = Evidence(ttl_s=ttl_s, margin_s=margin_s)
        self.guilds: dict[GuildId, GuildMachine] = {}
        self.link = 0
        """The connection that stands; 0: none."""
        self._renewed_link = 0
        self._confirmed_link = 0
        self._confirmed_at_s = 0.0
        self._renew_at_s = float("-inf")
        self._renewing = False
        """One is under way over `link`; one over an earlier link may be, too."""
        self._stopping = False
        self._ended = False
        self._seen = 0
        """The newest revision of bucket ``guilds`` that was shown here."""
        self._bucket_end = 0
        self._behind_from_s: float | None = None
        self._revisions: dict[GuildId, int] = {}
        """The newest entry seen of every guild, ours or not: a watch may be behind a read."""
        self._at_read: dict[GuildId, int] = {}
        self._end_at_read = 0
        self._reading = 0
        """The link over which the assignments are being read."""
        self._leader_at_s = float("-inf")
        self._leader_gone_s: float | None = None
        self._leader_ttl_s = leader_ttl_s
        self._readopting: dict[GuildId, int] = {}
        self._unsettled: set[GuildId] = set()
        for guild in on_disk:
            self.guilds[guild] = GuildMachine(guild, me, self.evidence, on_disk=True)

    # The gate

    def pod_refusal(self, now_s: float) -> str | None:
        """Why the pod may do nothing at this moment; None: lease and connection allow it."""
        if self._stopping:
            return "the pod stops"
        if not self.lease.valid(now_s):
            return "the lease has ended"
        if self.link == 0:
            return "not connected to NATS"
        if self._confirmed_link != self.link:
            return "the connection is not confirmed yet"
        return None

    def refusal(self, permit: Permit, now_s: float) -> str | None:
        """Why nothing may be done for the guild at this epoch; None: it may."""
        reason = self.pod_refusal(now_s)
        if reason is None:
            machine = self.guilds.get(permit.guild)
            epoch = machine.acting if machine is not None else None
            if epoch != permit.epoch:
                reason = f"acting at epoch {epoch}, not {permit.epoch}"
        return reason

    def may_act(self, permit: Permit, now_s: float) -> bool:
        """`refusal` as a question."""
        return self.refusal(permit, now_s) is None

    def may_send_effects(self, guild: GuildId, epoch: Epoch, now_s: float) -> bool:
        """Whether a request to Discord may be written for the guild at this moment."""
        return self.may_act(Permit(guild, epoch), now_s) and self.guilds[guild].effects == "open"

    @property
    def confirmed(self) -> bool:
        """Since the connection stands, a renewal sent on it was acknowledged and all assignments
        were read."""
        return self.link != 0 and self._confirmed_link == self.link

    # The lease

    def connected(self, link: int, now_s: float) -> list[Command]:
        """Connection number ``link`` stands. It may be told twice of one, at the start."""
        if link == self.link:
            return self.tick(now_s)
        self.link = link
        self._renewing = False
        self._renew_at_s = now_s
        return self.tick(now_s)

    def disconnected(self, now_s: float) -> list[Command]:
        """The connection is lost."""
        self.link = self._renewed_link = self._confirmed_link = self._reading = 0
        todo: list[Command] = []
        for guild in self.guilds.values():
            todo += guild.link_lost()
        return todo + self.tick(now_s)

    def renewed(self, sent_s: float, link: int, now_s: float) -> list[Command]:
        """A renewal that was sent at ``sent_s`` over ``link`` was acknowledged."""
        self.lease.renewed(sent_s)
        todo: list[Command] = []
        if link == self.link:
            self._renewing = False
            self._renew_at_s = now_s + RENEW_EVERY_S
            if not self.confirmed:
                self._renewed_link = link
                todo += self._read()
        return todo + self.tick(now_s)

    def renewal_failed(self, link: int, now_s: float) -> list[Command]:
        """A renewal that was sent over ``link`` was not acknowledged; it may have landed."""
        if link == self.link:
            self._renewing = False
            left_s = self.lease.remaining_s(now_s)
            self._renew_at_s = now_s + max(RENEW_AGAIN_S, min(RENEW_EVERY_S, left_s / 3))
        return self.tick(now_s)

    def renew_soon(self, now_s: float) -> list[Command]:
        """The lease's value has changed and should be known."""
        self._renew_at_s = now_s
        return self.tick(now_s)

    def lease_lost(self, reason: str, now_s: float) -> list[Command]:
        """The key was written by somebody else: a fence, or the pod's next start."""
        self.lease.lose()
        if self._ended:
            return []
        self._ended = True
        return [ask.EndProcess(reason=reason)]

    # Assignments

    def assignments_read(
        self,
        link: int,
        entries: Mapping[GuildId, tuple[Assignment | None, int]],
        now_s: float,
        *,
        end: int = 0,
    ) -> list[Command]:
        """All present entries of the bucket, read over ``link`` after `ReadAssignments`; ``end``:
        the revision up to which they are certainly complete. A leader of the bucket that was
        deposed and does not know it yet shows an old state, which takes nothing away."""
        if link != self.link:
            return []
        self._reading = 0
        end = max([end, *(revision for _, revision in entries.values())])
        todo: list[Command] = []
        for guild, (assignment, revision) in entries.items():
            todo += self.assignment_seen(guild, assignment, revision, now_s)
        for guild, revision in self._at_read.items():
            # A later one than the read shows may have come over the watch meanwhile.
            known = self.guilds.get(guild)
            if guild not in entries and known is not None and known.revision == revision < end:
                todo += self.assignment_seen(guild, None, revision, now_s)
        self._seen = max(self._seen, min(self._end_at_read, end))
        self._at_read = {}
        self._caught_up_with_bucket(now_s)
        if self._renewed_link == link and self._confirmed_link != link:
            self._confirmed_link = link
            self._confirmed_at_s = now_s
            for guild in list(self.guilds):
                todo += self._step(guild, now_s)
        return todo

    def not_read(self, link: int) -> list[Command]:
        """Reading failed: again, if it still matters."""
        if link == 0 or link != self.link:
            return []
        self._reading = 0
        return self._read()

    def assignment_seen(
        self, guild: GuildId, assignment: Assignment | None, revision: int, now_s: float
    ) -> list[Command]:
        """An entry of bucket ``guilds``; None: the key is gone, or not readable."""
        self._seen = max(self._seen, revision)
        if revision < self._revisions.get(guild, 0):
            return []
        self._revisions[guild] = revision
        machine = self.guilds.get(guild)
        if machine is None:
            if assignment is None or not self._concerns_us(assignment):
                return []
            machine = GuildMachine(guild, self.me, self.evidence, on_disk=False)
            if self._stopping:
                machine.stop()
            self.guilds[guild] = machine
        machine.assigned(assignment, revision, now_s)
        return self._step(guild, now_s)

    def bucket_end(self, revision: int, now_s: float) -> list[Command]:
        """The last revision of bucket ``guilds``, from its leader."""
        self._bucket_end = max(self._bucket_end, revision)
        self._caught_up_with_bucket(now_s)
        return self.tick(now_s)

    def leader_seen(self, now_s: float) -> list[Command]:
        """The lease of config's leader was written."""
        self._leader_at_s, self._leader_gone_s = now_s, None
        return []

    def leader_gone(self, now_s: float) -> list[Command]:
        """The lease of config's leader was given back, or has run out."""
        if self._leader_gone_s is None:
            self._leader_gone_s = now_s
        return []

    # Proofs

    def pod_seen(self, lease: PodLease, revision: int, now_s: float) -> list[Command]:
        """An entry of bucket ``pods``."""
        self.evidence.pod_seen(lease, revision, now_s)
        if (lease.pod, lease.incarnation) == (self.me.pod, self.me.incarnation):
            return self.lease_lost("fenced", now_s) if lease.state == "fenced" else []
        return self._step_unsettled(now_s)

    def end_seen(self, end: ProcessEnd, now_s: float) -> list[Command]:
        """An entry of bucket ``ends``."""
        self.evidence.end_seen(end)
        return self._step_unsettled(now_s)

    def released_seen(self, released: Released, now_s: float) -> list[Command]:
        """An entry ``released.<guild>`` of bucket ``handoffs``."""
        self.evidence.released_seen(released)
        return self._step(released.guild, now_s)

    def silent_seen(self, silent: Silent, now_s: float) -> list[Command]:
        """An entry ``silent.<guild>`` of bucket ``handoffs``."""
        self.evidence.silent_seen(silent)
        return self._step(silent.guild, now_s)

    # What became of commands

    def built(self, guild: GuildId, source: Source, replayed: int, now_s: float) -> list[Command]:
        """`Build` is done."""
        return self._told(guild, lambda machine: machine.built(source, replayed), now_s)

    def not_built(self, guild: GuildId, reason: str, now_s: float) -> list[Command]:
        """The guild's log does not continue what can be had of its rows; also found later."""
        machine = self.guilds.get(guild)
        return [] if machine is None else machine.not_built(reason) + self._step(guild, now_s)

    def caught_up(self, guild: GuildId, epoch: Epoch, replayed: int, now_s: float) -> list[Command]:
        """`AppendOpened` is done."""
        machine = self.guilds.get(guild)
        if machine is None:
            return []
        return machine.caught_up(epoch, replayed) + self._step(guild, now_s)

    def compared(self, guild: GuildId, ticket: int, now_s: float) -> list[Command]:
        """`CompareEnd` is done."""
        machine = self.guilds.get(guild)
        if machine is None or not self.confirmed:
            return []
        return machine.compared(ticket) + self._step(guild, now_s)

    def epoch_on_log(self, guild: GuildId, epoch: Epoch, now_s: float) -> list[Command]:
        """An `OwnerOpened` of this epoch was applied, or a fact of it was found."""
        machine = self.guilds.get(guild)
        if machine is None or (machine.acting is not None and epoch <= machine.acting):
            return []
        machine.epoch_on_log(epoch)
        return self._step(guild, now_s)

    def effects_ended(self, guild: GuildId, epoch: Epoch, now_s: float) -> list[Command]:
        """`StopOwning` is done to its end."""
        return self._told(guild, lambda machine: machine.effects_ended(epoch), now_s)

    def released_written(self, guild: GuildId, epoch: Epoch, now_s: float) -> list[Command]:
        """`WriteReleased` is done."""
        return self._told(guild, lambda machine: machine.released_written(epoch), now_s)

    def silent_written(self, guild: GuildId, epoch: Epoch, now_s: float) -> list[Command]:
        """`WriteSilent` is done."""
        return self._told(guild, lambda machine: machine.silent_written(epoch), now_s)

    def drop_confirmed(
        self, guild: GuildId, assignment: Assignment | None, revision: int, now_s: float
    ) -> list[Command]:
        """`ConfirmDrop` is done."""
        machine = self.guilds.get(guild)
        if machine is None:
            return []
        return machine.drop_confirmed(assignment, revision, now_s) + self._step(guild, now_s)

    def dropped(self, guild: GuildId, now_s: float) -> list[Command]:
        """`DropRows` is done."""
        return self._told(guild, lambda machine: machine.dropped(), now_s)

    # Time, and the end

    def tick(self, now_s: float) -> list[Command]:
        """Whatever time alone has made due."""
        todo: list[Command] = []
        if self._ended:
            return todo
        if not self.lease.valid(now_s) and self.lease.until_s > float("-inf"):
            return self.lease_lost("the lease could not be renewed in time", now_s)
        if self.link and not self._renewing and now_s >= self._renew_at_s:
            self._renewing = True
            todo.append(ask.Renew())
        if (
            self.confirmed
            and self._behind_from_s is not None
            and now_s >= self._behind_from_s + BEHIND_S
        ):
            self._behind_from_s = now_s
            todo += self._read()
        todo += self._readopt(now_s)
        return todo + self._step_unsettled(now_s)

    def wake_at_s(self, now_s: float) -> float:
        """When `tick` is due, if nothing happens before."""
        times: list[float] = [self.lease.until_s] if self.lease.valid(now_s) else []
        if self.link and not self._renewing:
            times.append(self._renew_at_s)
        if self.confirmed and self._behind_from_s is not None:
            times.append(self._behind_from_s + BEHIND_S)
        waking = (self.guilds[guild].wake_at_s(now_s) for guild in self._unsettled)
        times += [at for at in waking if at is not None]
        if self.confirmed and (at := self._leaderless_from_s()) > now_s:
            times.append(at)
        return min(times, default=now_s + RENEW_EVERY_S)

    def stop(self, now_s: float) -> list[Command]:
        """Let go of every guild; `done` once others have been told."""
        self._stopping = True
        todo: list[Command] = []
        for guild, machine in list(self.guilds.items()):
            machine.stop()
            todo += self._step(guild, now_s)
        return todo

    @property
    def done(self) -> bool:
        """After `stop`: no request to Discord is under way, and nothing is owed to others."""
        return not any(machine.owes for machine in self.guilds.values())

    @property
    def owned(self) -> list[GuildId]:
        """The guilds whose assignment names this start of the pod as their owner."""
        return [guild for guild, machine in self.guilds.items() if machine.named == "own"]

    # Inside

    def _concerns_us(self, assignment: Assignment) -> bool:
        me = self.me
        holders = (assignment.follower, assignment.joining, *assignment.before)
        return (assignment.pod, assignment.incarnation) == (me.pod, me.incarnation) or any(
            one is not None and (one.pod, one.incarnation) == (me.pod, me.incarnation)
            for one in holders
        )

    def _told(
        self, guild: GuildId, tell: Callable[[GuildMachine], None], now_s: float
    ) -> list[Command]:
        machine = self.guilds.get(guild)
        if machine is None:
            return []
        tell(machine)
        return self._step(guild, now_s)

    def _step(self, guild: GuildId, now_s: float) -> list[Command]:
        machine = self.guilds.get(guild)
        if machine is None:
            return []
        todo = machine.step(now_s, confirmed=self.confirmed)
        if machine.settled:
            self._unsettled.discard(guild)
        else:
            self._unsettled.add(guild)
        if machine.can_go:
            del self.guilds[guild]
        return todo

    def _step_unsettled(self, now_s: float) -> list[Command]:
        todo: list[Command] = []
        for guild in sorted(self._unsettled):
            todo += self._step(guild, now_s)
        return todo

    def _read(self) -> list[Command]:
        if self._reading == self.link:
            return []  # one at a time: more of them would only slow each other down
        self._reading = self.link
        self._at_read = {guild: machine.revision for guild, machine in self.guilds.items()}
        self._end_at_read = self._bucket_end
        return [ask.ReadAssignments(link=self.link)]

    def _caught_up_with_bucket(self, now_s: float) -> None:
        if self._seen >= self._bucket_end:
            self._behind_from_s = None
        elif self._behind_from_s is None:
            self._behind_from_s = now_s

    def _leaderless_from_s(self) -> float:
        unseen_s = max(self._leader_at_s, self._confirmed_at_s) + self._leader_ttl_s
        if self._leader_gone_s is None:
            return unseen_s
        return min(unseen_s, max(self._leader_gone_s, self._confirmed_at_s) + ELECTED_WITHIN_S)

    def _readopt(self, now_s: float) -> list[Command]:
        """Step 23: the guilds last assigned to our name whose rows are on our disk."""
        if self.pod_refusal(now_s) is not None or now_s < self._leaderless_from_s():
            return []
        todo: list[Command] = []
        for guild, machine in self.guilds.items():
            a = machine.assignment
            if (
                machine.phase != "kept"
                or a is None
                or a.pod != self.me.pod
                or a.incarnation == self.me.incarnation
                or self._readopting.get(guild) == machine.revision
            ):
                continue
            self._readopting[guild] = machine.revision
            todo.append(
                ask.Readopt(
                    guild=guild, assignment=self._readopted(a, now_s), revision=machine.revision
                )
            )
        return todo

    def readopt_failed(self, guild: GuildId, revision: int) -> None:
        """A `Readopt` was not answered: it is asked for again with the next `tick`."""
        if self._readopting.get(guild) == revision:
            del self._readopting[guild]

    def _readopted(self, a: Assignment, now_s: float) -> Assignment:
        former = EarlierOwner(pod=a.pod, incarnation=a.incarnation, epoch=a.epoch)
        before = [
            earlier
            for earlier in (*a.before, former)
            if not self.evidence.silent(a.guild, earlier, now_s)
        ]
        return msgspec.structs.replace(
            a,
            incarnation=self.me.incarnation,
            epoch=Epoch(a.epoch + 1),
            cause="restarted",
            by=self.me.pod,
            joining=None,
            before=before,
            sources=self._sources(a),
            reason=f"{self.me.pod} took it back after a restart: nobody led",
            former=changes.owner_of(a),
            unrecorded=changes.carried(a, None, lambda _: False),
        )

    def _sources(self, a: Assignment) -> list[StateSource]:
        """Our replica begins empty: what our last start left in its own stays a source."""
        me = self.me
        known = [one for one in a.sources if one.incarnation != a.incarnation]
        replica = f"pods/{a.pod}/{a.incarnation}" if me.replica else ""
        own = StateSource(pod=a.pod, incarnation=a.incarnation, data=me.data, replica=replica)
        return [*known, own]
