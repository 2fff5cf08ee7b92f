"""What a pod's shell does for one guild: take the log, apply, publish, act, answer.

The same parts as in `components.gateway.shell`, without their optimisations; when each of them may
run is not decided here but by the ownership machine (`pod.Pod`). Applying commits at once.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from components.simulate.building import Snapshot
from components.simulate.clients import Reply, Request
from components.simulate.discord import Call, NoAnswer
from components.simulate.kv import WrongRevision
from components.simulate.link import NotConnected, Unanswered
from components.simulate.streams import Input, Rows, applied
from components.simulate.tasks import Answer

if TYPE_CHECKING:
    from components.simulate.pod import Pod

BATCH = 100
AGAIN_S = 0.1
TRIED_S = 0.25


class Guild:
    """One guild in one process, whatever its role."""

    def __init__(self, pod: "Pod", guild: str) -> None:
        self.pod = pod
        self.id = guild
        self.epoch = 0
        """At which effects, facts and replies are sent; 0: none are."""
        self.taking = False
        """Whether inputs are applied as they come."""
        self.effects_held = True
        self.lane = 0
        """The epoch at which effects are being sent; 0: none is."""
        self.builds = 0
        """Counts the orders to build; a later one, or none, takes back the earlier."""
        self._in_doubt: set[int] = set()
        self._waiting: list[tuple[int, Answer]] = []
        self.held_from: int | None = None
        """While it is built and opened: from where on the log must hold the guild's inputs
        (`components.gateway.shell.guild.Guild.verify`)."""
        self.hole = False
        """The log no longer does."""
        self._filling = False
        self._publishing = False
        self._last_fact: int | None = None
        self._known_missing = 0

    # Rows

    @property
    def rows(self) -> Rows | None:
        """What the database holds."""
        return self.pod.disk.rows.get(self.id)

    @property
    def sequence(self) -> int:
        """The last applied input."""
        rows = self.rows
        return rows.sequence if rows is not None else 0

    def log_end(self) -> int:
        """The last sequence on the log; done at the server."""
        return self.pod.server.streams.logs[self.id].last

    # Intake

    def follow_log(self) -> None:
        """Take what comes from now on; what is missing is filled."""
        if not self.taking:
            self.taking = True
            self.pod.link.listen(self.id, self._live)
            self.pod.link.listen(f"snapshot.{self.pod.name}.{self.id}", self._snapshot)

    def leave_log(self) -> None:
        """Take no more inputs; who waits for one waits no longer."""
        if self.taking:
            self.taking = False
            self.held_from = None
            self._wait_no_longer()
            self.pod.link.unlisten(self.id)
            self.pod.link.unlisten(f"snapshot.{self.pod.name}.{self.id}")

    def missing(self, up_to: int) -> None:
        """The log is known to have an input of that sequence."""
        self._known_missing = max(self._known_missing, up_to)
        if self.taking and not self._filling and self.sequence < self._known_missing:
            self._filling = True
            self.pod.process.start(self._fill())

    async def applied_to(self, sequence: int) -> None:
        """Wait until everything up to a sequence that is on the log is applied."""
        if self.sequence >= sequence:
            return
        answer = Answer()
        self._waiting.append((sequence, answer))
        self.missing(sequence)
        await answer

    def _live(self, given: Input) -> None:
        if not self.taking or self.rows is None or given.sequence <= self.sequence:
            return
        if given.before > self.sequence:
            self.missing(given.sequence)
        elif not self._filling:
            self._apply(given)

    async def _fill(self) -> None:
        while self.taking and self.sequence < self._known_missing:
            try:
                batch, first = await self.pod.link.inputs_after(self.id, self.sequence, BATCH)
            except (NotConnected, Unanswered):
                await self.pod.process.sleep(AGAIN_S)
                continue
            if not batch:
                await self.pod.process.sleep(0.05)
            if self.held_from is not None and first > max(self.sequence + 1, self.held_from):
                self.hole = True
                self._wait_no_longer()
                break
            for given in batch:
                if self.taking and given.sequence > self.sequence:
                    self._apply(given)
        self._filling = False

    def _wait_no_longer(self) -> None:
        waiting, self._waiting = self._waiting, []
        for _, answer in waiting:
            answer.give()

    def _apply(self, given: Input) -> None:
        rows = self.rows
        if rows is None:
            return
        after = applied(rows, given)
        self.pod.disk.rows[self.id] = after
        self.pod.judge.input_applied(self.pod.process.name, self.id, given, after)
        if self._waiting:
            due = [each for each in self._waiting if each[0] <= after.sequence]
            self._waiting = [each for each in self._waiting if each[0] > after.sequence]
            for _, answer in due:
                answer.give()
        if given.kind == "opened":
            self.pod.opened_seen(self, given.epoch)
        if self.epoch:
            self.work()

    # Acting

    def serve(self, epoch: int) -> None:
        """Answer and publish from now on; effects wait for `release`."""
        self.epoch = epoch
        self._last_fact = None
        rows = self.rows
        self._in_doubt = set(rows.effects) if rows is not None else set()
        self.pod.link.listen(f"rpc.{self.id}", self._asked)
        self.pod.link.listen(f"snapshot.{self.id}", self._snapshot)
        self.work()

    def hold(self) -> None:
        """Begin no effect until the end of the log is known again."""
        self.effects_held = True

    def release(self) -> None:
        """Effects may begin."""
        self.effects_held = False
        self.work()

    def silence(self) -> None:
        """Answer, publish and begin nothing any more; what is under way goes on."""
        self.epoch = 0
        self.effects_held = True
        self.pod.link.unlisten(f"rpc.{self.id}")
        self.pod.link.unlisten(f"snapshot.{self.id}")

    def work(self) -> None:
        """Begin what is to be done."""
        rows = self.rows
        if rows is None or not self.epoch:
            return
        if rows.facts and not self._publishing:
            self._publishing = True
            self.pod.process.start(self._publish(self.epoch))
        if rows.effects and not self.lane and not self.effects_held:
            self.lane = self.epoch
            self.pod.process.start(self._send(self.epoch))

    async def _send(self, epoch: int) -> None:
        pod = self.pod
        while self.epoch == epoch and not self.effects_held and self.rows and self.rows.effects:
            effect = self.rows.effects[0]
            if not pod.may_send(self, epoch):
                await pod.process.sleep(0.05)
                continue
            try:
                done = False
                if effect in self._in_doubt:
                    until_s = pod.process.now_s() + pod.lease_left_s()
                    done = await pod.discord.look_up(pod.process, self.id, effect, until_s)
                    if effect not in self._pending():
                        continue
                if not done:
                    if not pod.may_send(self, epoch):
                        continue
                    call = Call(
                        self.id,
                        effect,
                        pod.name,
                        pod.incarnation,
                        epoch,
                        pod.loop.now_s,
                    )
                    self._in_doubt.add(effect)
                    until_s = pod.process.now_s() + min(5.0, pod.lease_left_s())
                    await pod.discord.send(pod.process, call, until_s)
            except NoAnswer:
                continue
            await self._report(effect)
        self.lane = 0
        pod.effects_ended(self, epoch)
        self.work()

    def _pending(self) -> tuple[int, ...]:
        rows = self.rows
        return rows.effects if rows is not None else ()

    async def _report(self, effect: int) -> None:
        """The result of an effect; it may be appended after the gate has closed."""
        name = f"eff:{self.id}:{effect}"
        while True:
            try:
                stored = await self.pod.link.append(self.id, "result", name, of=effect)
            except (NotConnected, Unanswered):
                await self.pod.process.sleep(AGAIN_S)
                continue
            if self.taking:
                await self.applied_to(stored)
            return

    async def _publish(self, epoch: int) -> None:
        pod = self.pod
        log = pod.server.streams.logs[self.id]
        while self.epoch == epoch and self.rows is not None and self.rows.facts:
            fact = self.rows.facts[0]
            if not pod.may_act(self, epoch):
                await pod.process.sleep(0.05)
                continue
            try:
                published = False
                if self._last_fact is None:
                    last = await pod.link.ask(lambda: log.facts[-1] if log.facts else (0, 0, 0))
                    if last[2] > epoch:
                        break
                    published = last[1] >= fact
                    self._last_fact = last[0] if last[1] <= fact else None
                if not published:
                    if not pod.may_act(self, epoch):
                        continue
                    expected = self._last_fact or 0
                    self._last_fact = await pod.link.ask(
                        lambda fact=fact, expected=expected: pod.publish(  # type: ignore[misc]
                            self.id, fact, epoch, expected
                        )
                    )
                mark = f"facts:{self.id}:{fact}"
                stored = await pod.link.append(self.id, "mark", mark, of=fact)
                await self.applied_to(stored)
            except WrongRevision:
                self._last_fact = None
            except (NotConnected, Unanswered):
                self._last_fact = None
                await pod.process.sleep(AGAIN_S)
        self._publishing = False
        self.work()

    def _asked(self, request: Request) -> None:
        if self.epoch and self.pod.may_act(self, self.epoch):
            self.pod.process.start(self._answer(request, self.epoch))

    def _snapshot(self, taken: Callable[[Snapshot], None]) -> None:
        connection, rows = self.pod.link.connection, self.rows
        if connection is not None and rows is not None:
            snapshot = Snapshot(rows, self.pod.disk.up_to(self.id))
            connection.up(lambda: taken(snapshot))

    async def _answer(self, request: Request, epoch: int) -> None:
        pod = self.pod
        at_least = request.at_least
        if request.write:
            try:
                stored = await pod.link.append(self.id, "write", request.write, fact=True)
            except (NotConnected, Unanswered):
                return
            at_least = max(at_least, stored)
        await self.applied_to(at_least)
        rows = self.rows
        connection = pod.link.connection
        if connection is None or not pod.may_act(self, epoch) or rows is None:
            return
        reply = Reply(epoch, rows.sequence, rows.chain)
        connection.up(lambda: request.reply.reply(reply))
