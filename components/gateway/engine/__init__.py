"""The gateway's core: a guild's log in, state, effects and facts out.

Synchronous and deterministic. It imports no asyncio, no network, no clock and no randomness:
every owner of a guild computes the same rows from the same log, whatever the batching and
wherever it crashed on the way.
"""
