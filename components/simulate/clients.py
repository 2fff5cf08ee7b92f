"""Who uses the system: Discord's members through a shard, moderators through the edge.

The shard appends what happens and repeats what was not acknowledged. The edge asks whoever
listens for the guild, takes the reply of the highest epoch and never an older one, and asks again
inside a deadline; each session states the lowest sequence it may be answered from.
"""

import msgspec

from components.simulate.judge import Judge
from components.simulate.loop import Loop
from components.simulate.server import Server
from components.simulate.tasks import Answer, advance

DEADLINE_S = 10.0
AGAIN_S = 0.1
REPLY_S = 1.0
QUIET_S = 10.0
"""Who has had no answer for so long asks: that nobody asked must not look as if nobody answered."""


class Request(msgspec.Struct, frozen=True):
    """A request to a guild's owner; ``write``: the id under which it goes onto the log."""

    guild: str
    at_least: int
    write: str
    reply: "Replies"


class Reply(msgspec.Struct, frozen=True):
    """The owner's answer, from the rows at a sequence. ``moved``: ask again."""

    epoch: int
    sequence: int
    chain: int
    moved: bool = False


class Replies:
    """Where the replies to one question arrive."""

    def __init__(self, loop: Loop, epoch: int) -> None:
        self.answer = Answer()
        self._loop = loop
        self._epoch = epoch

    def reply(self, reply: Reply) -> None:
        """A pod replies; older epochs are ignored."""
        if reply.epoch >= self._epoch:
            self._loop.after(0.0005, lambda: self.answer.give(reply))


class Client:
    """The traffic of one guild."""

    def __init__(self, loop: Loop, server: Server, judge: Judge, guild: str, every_s: float):
        self.loop = loop
        self.server = server
        self.judge = judge
        self.guild = guild
        self.unanswered = 0
        """Requests whose deadline passed."""
        self.running = True
        self._every_s = every_s
        self._number = 0
        self._epoch = 0
        self._seen = 0
        self.answered_s = 0.0
        """When the last request was answered."""

    def begin(self) -> None:
        """Start, and go on until `running` is false."""
        self.loop.after(self.loop.between(0.0, self._every_s), self._next)

    def _next(self) -> None:
        if not self.running:
            return
        self._number += 1
        kind = self.loop.random()
        name = f"{self.guild}.{self._number}"
        if kind < 0.6 and self.loop.now_s - self.answered_s < QUIET_S:
            self._append(name)
        else:
            advance(self._ask(f"w.{name}" if kind < 0.8 else ""))
        self.loop.after(self.loop.between(0.2, 1.8) * self._every_s, self._next)

    def _append(self, name: str) -> None:
        """The shard: again and again until it is acknowledged."""
        loop, server = self.loop, self.server
        effect, fact = loop.happens(0.6), loop.happens(0.4)

        def attempt() -> None:
            stored = server.up and not loop.happens(0.02)
            if stored:
                server.append(self.guild, "dispatch", name, effect=effect, fact=fact)
            if not stored or loop.happens(0.02):  # lost on its way, or its acknowledgement was
                loop.after(0.3, attempt)

        loop.after(0.001, attempt)

    async def _ask(self, write: str) -> None:
        loop = self.loop
        until_s = loop.now_s + DEADLINE_S
        while loop.now_s < until_s:
            replies = Replies(loop, self._epoch)
            request = Request(self.guild, self._seen, write, replies)
            asked = self.server.publish(f"rpc.{self.guild}", request) if self.server.up else 0
            pause_s = REPLY_S if asked else AGAIN_S
            loop.after(pause_s, lambda answer=replies.answer: answer.give(None))  # type: ignore[misc]
            reply: Reply | None = await replies.answer
            if reply is None:
                continue
            if reply.moved:
                await _pause(loop, AGAIN_S)
                continue
            self._epoch = max(self._epoch, reply.epoch)
            self.judge.read_answered(self.guild, reply.sequence, reply.chain, request.at_least)
            self._seen = max(self._seen, reply.sequence)
            if write:
                self.judge.write_acknowledged(self.guild, write)
            self.answered_s = loop.now_s
            return
        self.unanswered += 1


async def _pause(loop: Loop, seconds: float) -> None:
    over = Answer()
    loop.after(seconds, over.give)
    await over
