"""Between a guild's log and the applier: the poison protocol.

After an unclean end inputs go one by one, each attempt noted (`attempts`), until the guild is
caught up. An input that killed the pod twice parks the guild: it waits there, and everything
behind the input is only searched for the `SkipInput` that names it. What a later `SkipInput`
already names is never tried, so that a replay of the log gives what the first run gave.

What a guild catches up with goes behind what the pod's other guilds ask and hear
(`applier.Applier.apply`), and what comes then, until all of that is applied.
"""

import asyncio
import logging
from collections.abc import Callable

from components.gateway.engine.model import Applied, LoggedInput
from components.gateway.shell.applier import Applier
from components.gateway.shell.attempts import Attempts
from contracts.ids import GuildId, Sequence
from contracts.inputs import AnyInput, SkipInput
from contracts.message import MalformedMessage, decode

log = logging.getLogger(__name__)

SKIP_PREFIX = "skp:"


class Feed:
    """Hands one guild's inputs to the applier; ``deliver`` gets what comes of them, in order.

    ``resumed`` is called with the skipped sequence when a parked guild goes on: what lies behind
    it must be handed in again.
    """

    def __init__(
        self,
        applier: Applier,
        attempts: Attempts,
        guild: GuildId,
        deliver: Callable[[Applied], None],
        resumed: Callable[[Sequence], None],
    ) -> None:
        self._applier = applier
        self._attempts = attempts
        self._guild = guild
        self._deliver = deliver
        self._resumed = resumed
        self._skips: dict[Sequence, SkipInput] = {}
        self._parked_at: Sequence | None = None
        self._catching_up = True
        self._handed = Sequence(0)
        """The last input that the applier got."""
        self._on_the_way = 0
        """Inputs that the applier got and has not applied yet."""
        self._behind = 0
        """Of those, the ones that it got behind all else."""
        self._idle = asyncio.Event()
        self._idle.set()
        self.careful = False
        """One by one, each attempt noted."""
        self.poison: LoggedInput | None = None
        """The input at which the guild waits."""

    def expect_poison(self, sequence: Sequence | None) -> None:
        """The database says that the guild is parked at ``sequence``."""
        self._parked_at = sequence

    def note_skips(self, batch: list[LoggedInput]) -> None:
        """Look ahead: these inputs may say what to skip."""
        for item in batch:
            word = skip_of(item.message_id, item.data)
            if word is not None and word.sequence < item.sequence:
                self._skips.setdefault(word.sequence, word)

    async def hand(self, item: LoggedInput) -> None:
        """Take the next input of the log. Raises `BusError` while attempts cannot be noted."""
        await self._applier.room(behind=self._goes_behind)
        if item.sequence <= self._handed:
            await self.applied()  # whoever handed it gave up while it was being applied
            return
        if self.poison is not None:
            self._search(item)
            return
        word = self._skips.pop(item.sequence, None)
        if word is not None:
            self._skip(item, word)
        elif item.sequence == self._parked_at:
            self.poison = item
        elif self.careful:
            await self._carefully(item)
        else:
            self._apply(item)

    async def caught_up(self) -> None:
        """The guild is caught up: inputs go in batches again, and behind nobody."""
        self._catching_up = False
        self.careful = False
        await self._attempts.clear()

    async def applied(self) -> None:
        """Wait until everything that was taken is applied."""
        await self._idle.wait()

    @property
    def _goes_behind(self) -> bool:
        return self._catching_up or self._behind > 0

    def _hand_in(
        self, item: LoggedInput, hear: Callable[[Applied], None]
    ) -> tuple[Callable[[Applied], None], bool]:
        """Count the input; what is to hear of it, and whether it goes behind."""
        behind = self._goes_behind
        self._handed = item.sequence
        self._on_the_way += 1
        self._behind += behind
        self._idle.clear()

        def applied(outcome: Applied) -> None:
            self._on_the_way -= 1
            self._behind -= behind
            if not self._on_the_way:
                self._idle.set()
            hear(outcome)

        return applied, behind

    def _apply(self, item: LoggedInput) -> None:
        hear, behind = self._hand_in(item, self._deliver)
        self._applier.apply(item, hear, behind=behind)

    def _skip(self, item: LoggedInput, word: SkipInput) -> None:
        hear, behind = self._hand_in(item, self._deliver)
        self._applier.skip(item, word, hear, behind=behind)

    async def _carefully(self, item: LoggedInput) -> None:
        async with self._attempts.trying(item) as may_apply:
            if may_apply:
                await self._apply_alone(item)
                return
        reason = "the pod died twice while applying it"
        await self.applied()  # what lies before it may have been handed in behind
        await self._applier.write(lambda engine: engine.park(self._guild, item.sequence, reason))
        log.error(
            "guild %s is parked at input %s: %s; to go on without it: modbot guild %s skip %s",
            self._guild,
            item.sequence,
            reason,
            self._guild,
            item.sequence,
            extra={"fields": {"alarm": "parked"}},
        )
        self.poison = item

    async def _apply_alone(self, item: LoggedInput) -> None:
        applied = asyncio.Event()

        def deliver(outcome: Applied) -> None:
            self._deliver(outcome)
            applied.set()

        hear, behind = self._hand_in(item, deliver)
        self._applier.apply(item, hear, alone=True, behind=behind)
        await applied.wait()

    def _search(self, item: LoggedInput) -> None:
        poison = self.poison
        word = skip_of(item.message_id, item.data)
        if poison is None or word is None or word.sequence != poison.sequence:
            return
        log.warning("guild %s goes on without input %s", self._guild, poison.sequence)
        self._skip(poison, word)
        self.poison = None
        self._parked_at = None
        self._resumed(poison.sequence)


def skip_of(message_id: str, data: bytes) -> SkipInput | None:
    """The message as a `SkipInput`; None when it is anything else."""
    if not message_id.startswith(SKIP_PREFIX):
        return None
    try:
        decoded: AnyInput = decode(data, AnyInput)  # type: ignore[arg-type]
    except MalformedMessage:
        return None
    return decoded if isinstance(decoded, SkipInput) else None
