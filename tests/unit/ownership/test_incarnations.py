"""The order of a pod's starts."""

import pytest

from components.ownership.incarnations import is_newer
from contracts.ids import Incarnation


@pytest.mark.parametrize(
    ("incarnation", "than", "newer"),
    [
        ("b-10", "b-9", True),
        ("b-9", "b-10", False),
        ("b-9", "b-9", False),
        ("c-1", "b-9", True),
        ("odd", "b-9", True),
    ],
)
def test_starts_are_ordered_by_revision_within_a_bucket(
    incarnation: str, than: str, newer: bool
) -> None:
    assert is_newer(Incarnation(incarnation), Incarnation(than)) is newer
