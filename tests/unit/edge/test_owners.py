"""What a caller is told when nobody answers for a guild."""

from typing import Any

import pytest

from components.bus.errors import NoOwner, Unanswered
from components.edge.owners import Owners
from components.responder.epochs import Epochs
from contracts.errors import ServiceError
from contracts.ids import GuildId
from contracts.requests import GetSettings


class Nobody:
    """The server says that nobody listens, and comes too late to say so once more."""

    def __init__(self, last_s: float) -> None:
        self.now_s = 0.0
        self._last_s = last_s

    async def ask(self, *_: Any, timeout_s: float) -> None:
        if timeout_s <= self._last_s + 1e-9:
            self.now_s += timeout_s
            raise Unanswered("it", timeout_s)
        self.now_s += timeout_s - self._last_s
        raise NoOwner("it")


@pytest.mark.parametrize(
    ("last_s", "words"), [(0.02, "no gateway pod owns this guild"), (0.5, "did not answer in time")]
)
async def test_a_last_question_that_had_no_time_for_an_answer_says_nothing(
    last_s: float, words: str
) -> None:
    replies = Nobody(last_s)
    owners = Owners(replies, None, Epochs(), lambda: replies.now_s)  # type: ignore[arg-type]
    with pytest.raises(ServiceError, match=words):
        await owners.ask(GuildId("1"), GetSettings(), dict, within_s=1.0)
