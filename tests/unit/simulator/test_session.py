"""A session's replay buffer, against a model."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from components.simulator.clock import Snowflake
from components.simulator.gateway.session import Session
from components.simulator.world.entities import Application, User

APPLICATION = Application(
    id=Snowflake(1),
    name="a",
    token="t",
    bot=User(id=Snowflake(1), username="a", bot=True),
    signing_seed=bytes(32),
    privileged_intents=0,
)

STEPS = st.lists(
    st.one_of(st.just("dispatch"), st.integers(min_value=0, max_value=30)), max_size=60
)


@given(steps=STEPS, buffer=st.integers(min_value=1, max_value=12), strict=st.booleans())
def test_what_can_be_replayed_is_exactly_what_was_dispatched(
    steps: list[str | int], buffer: int, strict: bool
) -> None:
    session = Session("s", APPLICATION, 0, (0, 1), 50, buffer)
    sent: list[int] = []
    confirmed = 0
    for step in steps:
        if isinstance(step, str):
            sent.append(session.dispatch("X", b"%d" % (len(sent) + 1)))
        else:
            session.confirm(step, drop=strict)
            confirmed = max(confirmed, min(step, len(sent)))
    assert sent == list(range(1, len(sent) + 1))
    for seq in range(len(sent) + 3):
        kept = seq <= len(sent) and len(sent) - seq <= buffer
        if strict:
            kept = kept and seq >= confirmed
        assert session.can_replay(seq) is kept, (seq, confirmed)
        if kept:
            payloads = [msgspec.json.decode(p) for p in session.missed(seq)]
            expected = [{"op": 0, "s": n, "t": "X", "d": n} for n in range(seq + 1, len(sent) + 1)]
            assert payloads == expected
