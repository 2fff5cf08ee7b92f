"""In what order the applier's thread takes its jobs."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from components.gateway.shell.lanes import BEHIND, MAX_BATCH, Lanes


@dataclass
class Job:
    number: int
    alone: bool
    behind: bool


RUNS = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 3, BEHIND, BEHIND + 1, MAX_BATCH, MAX_BATCH + 1]),  # so many alike
        st.booleans(),  # each alone
        st.booleans(),  # behind
        st.integers(0, 3),  # batches that are taken after them
    ),
    max_size=12,
)


@given(RUNS)
def test_every_job_comes_once_in_its_order_and_nothing_behind_waits_two_batches(
    runs: list[tuple[int, bool, bool, int]],
) -> None:
    lanes: Lanes[Job] = Lanes()
    put: list[Job] = []
    waiting = behind = 0
    batches: list[list[Job]] = []
    behind_waits = 0  # batches, one after another, in which nothing of what waited behind was

    def take() -> None:
        nonlocal waiting, behind, behind_waits
        before = behind
        batch = lanes.next_batch()
        behind -= sum(job.behind for job in batch)
        batches.append(batch)
        waiting -= len(batch)
        behind_waits = behind_waits + 1 if before and not any(job.behind for job in batch) else 0
        assert behind_waits < 2
        assert 0 < len(batch) <= MAX_BATCH + BEHIND
        assert len(batch) == 1 or not any(job.alone for job in batch)
        # Within a batch too: what waits behind waits for what does not.
        assert batch == sorted(batch, key=lambda job: job.behind)

    for count, alone, goes_behind, taken in runs:
        new = [Job(len(put) + n, alone, goes_behind) for n in range(count)]
        for job in new:
            lanes.put(job)
        put += new
        waiting += count
        behind += count if goes_behind else 0
        for _ in range(taken):
            if waiting:
                take()
    lanes.stop()
    while waiting:
        take()
    assert lanes.next_batch() == []
    came = [job for batch in batches for job in batch]
    for lane in (False, True):
        assert [job for job in came if job.behind is lane] == [
            job for job in put if job.behind is lane
        ]


@given(st.integers(1, 3 * MAX_BATCH), st.integers(1, 3 * MAX_BATCH))
def test_what_goes_first_is_held_up_by_no_more_than_a_share(first: int, behind: int) -> None:
    lanes: Lanes[Job] = Lanes()
    for number in range(behind):
        lanes.put(Job(number, alone=False, behind=True))
    for number in range(first):
        lanes.put(Job(number, alone=False, behind=False))
    before = 0
    left = first
    while left:
        batch = lanes.next_batch()
        left -= sum(not job.behind for job in batch)
        if left:
            before += sum(job.behind for job in batch)
    assert before <= BEHIND * (first // MAX_BATCH)
