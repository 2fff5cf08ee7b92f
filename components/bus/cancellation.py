"""Cancellation that arrives together with an answer, and is not lost for it.

The NATS client waits with `asyncio.wait_for`, which up to Python 3.11 returns the answer and
forgets the cancellation when both come in the same turn of the loop (python/cpython#86296). The
task would go on as if nothing had been, and whoever waits for its end would wait for ever.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def never_lost() -> Iterator[None]:
    """Raise `asyncio.CancelledError` at the end of the block if the task was cancelled inside it
    and nothing else says so. Cancellations from before the block do not count: what cleans up
    after one may still talk to the bus."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    yield
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
