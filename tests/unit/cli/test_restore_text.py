"""What ``modbot restore`` tells people."""

import pytest

from components.cli.restore_text import done
from contracts.inputs import Actor
from contracts.requests import RestoreView


@pytest.mark.parametrize(("left", "says"), [(0, False), (2, True)])
def test_an_undo_says_what_it_left_as_it_is(left: int, says: bool) -> None:
    view = RestoreView(
        restore="r1",
        state="undone",
        at_ms=0,
        parts=["cases"],
        pieces=1,
        received=1,
        rows=3,
        left=left,
        by=Actor(kind="operator", id="ops"),
    )
    assert "3 rows as they were before" in done(view)
    assert (f"{left} left as they are, because they have changed since" in done(view)) is says
