"""The invariants of the design, checked at every step that could break one.

The simulation sees everything at once: every log, disk and process. What no part of the system
can know, it knows, so a violation is a fact and not a suspicion. Each check names what was
checked how often, so that a zero is a zero over something.
"""

from collections import Counter
from collections.abc import Callable

import msgspec

from components.simulate.discord import Call, Discord
from components.simulate.loop import Loop
from components.simulate.streams import Input, Rows, Streams


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """An invariant that did not hold."""

    invariant: str
    step: int
    at_s: float
    words: str


class Judge:
    """Looks on. ``could_send``: the names of the processes that could send an effect of the guild
    at this very moment, if they ran."""

    def __init__(
        self,
        loop: Loop,
        streams: Streams,
        discord: Discord,
        could_send: Callable[[str], list[str]],
    ) -> None:
        self.loop = loop
        self.violations: list[Violation] = []
        self.checked: Counter[str] = Counter()
        self._streams = streams
        self._discord = discord
        self._could_send = could_send
        self._newest_call: dict[str, int] = {}
        self._opened: dict[tuple[str, int], str] = {}
        self._facts_seen: Counter[str] = Counter()
        discord.on_call = self.effect_sent

    def broken(self, invariant: str, words: str) -> None:
        """Note a violation."""
        self.loop.say("VIOLATION", f"{invariant}: {words}")
        self.violations.append(
            Violation(invariant=invariant, step=self.loop.steps, at_s=self.loop.now_s, words=words)
        )

    def effect_sent(self, call: Call) -> None:
        """Bytes of an effect leave a process: nobody else may send for the guild now."""
        self.checked["effects"] += 1
        guild, who = call.guild, f"{call.pod}/{call.incarnation} at epoch {call.epoch}"
        newest = self._newest_call.get(guild, 0)
        if call.epoch < newest:
            self.broken("effects_stale_owner", f"{who} sends for {guild} after epoch {newest}")
        self._newest_call[guild] = max(newest, call.epoch)
        for other, _ in self._discord.under_way.values():
            if other.guild == guild and other.epoch != call.epoch:
                self.broken(
                    "effects_overlap",
                    f"{who} sends for {guild} while a request of {other.pod} at epoch "
                    f"{other.epoch} is under way",
                )
        self.may_send(guild)
        if (guild, call.effect) in self._discord.done:
            self.broken("effects_doubled", f"{who} sends effect {call.effect} of {guild} again")
        for sent, _ in self._discord.under_way.values():
            if sent.guild == guild and sent.effect == call.effect:
                self.broken("effects_doubled", f"{who} sends {call.effect} of {guild} twice")

    def may_send(self, guild: str) -> None:
        """Some process may send an effect of the guild from now on: nobody else could now, not
        even one that is stopped and wakes at this moment."""
        self.checked["gates"] += 1
        able = self._could_send(guild)
        if len(able) > 1:
            self.broken("two_could_act", f"for {guild}: {able}")

    def input_applied(self, who: str, guild: str, given: Input, after: Rows) -> None:
        """The rows must be those of a faultless engine."""
        self.checked["inputs"] += 1
        truth = self._streams.logs[guild].truth.get(given.sequence)
        if truth is None or truth.chain != after.chain or truth.count != after.count:
            self.broken(
                "state_differs",
                f"{who} applied {given.sequence} of {guild} as number {after.count}",
            )

    def owner_opened(self, guild: str, epoch: int, who: str) -> None:
        """An epoch has one owner."""
        self.checked["openings"] += 1
        other = self._opened.setdefault((guild, epoch), who)
        if other != who:
            self.broken("two_owners", f"epoch {epoch} of {guild}: {other} and {who}")

    def fact_published(self, guild: str) -> None:
        """EVENTS is the facts of the log, in order, once."""
        self.checked["facts"] += 1
        log = self._streams.logs[guild]
        number = len(log.facts) - 1
        if number >= len(log.fact_inputs) or log.facts[number][1] != log.fact_inputs[number]:
            self.broken("facts_out_of_order", f"fact {log.facts[-1]} of {guild} is number {number}")

    def write_acknowledged(self, guild: str, message_id: str) -> None:
        """An acknowledged write is on the log."""
        self.checked["writes"] += 1
        if not self._streams.holds(message_id):
            self.broken("acked_writes_missing", f"{message_id} of {guild}")

    def read_answered(self, guild: str, sequence: int, chain: int, at_least: int) -> None:
        """A reply may be behind, never wrong, and never behind its caller."""
        self.checked["reads"] += 1
        truth = self._streams.logs[guild].truth.get(sequence)
        if truth is None or truth.chain != chain:
            self.broken("state_differs", f"a read of {guild} at {sequence}")
        if sequence < at_least:
            self.broken("own_write_unseen", f"{guild} answered at {sequence}, seen {at_least}")

    def sources_kept(self, guild: str, copies: list[tuple[str, int]]) -> None:
        """Some copy of the rows, recorded and reachable, is continued by the log. ``copies``:
        where, and up to which sequence."""
        self.checked["sources"] += 1
        log = self._streams.logs[guild]
        if not log.last or log.first_kept() == log.first_ever:
            return
        for _, sequence in copies:
            following = log.next_of.get(sequence)
            if following is None or following >= log.kept_from:
                return
        self.broken("sources_cut", f"nothing can rebuild {guild}: {copies}")
