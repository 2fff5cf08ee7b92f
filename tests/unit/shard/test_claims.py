"""How shard ids are shared out."""

from hypothesis import given
from hypothesis import strategies as st

from components.shard.board import fair_share


@given(st.integers(1, 500), st.integers(1, 50))
def test_the_shares_are_enough_for_all_shard_ids_and_no_larger_than_needed(
    shards: int, replicas: int
) -> None:
    share = fair_share(shards, replicas)
    assert share * replicas >= shards
    assert (share - 1) * replicas < shards
