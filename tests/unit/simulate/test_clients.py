"""Clients ask often enough that a guild nobody answers for is told from one nobody asks about."""

from components.simulate.clients import Client
from components.simulate.discord import Discord
from components.simulate.judge import Judge
from components.simulate.loop import Loop
from components.simulate.server import Server


def test_a_client_that_was_not_answered_for_long_asks_whatever_chance_says() -> None:
    loop = Loop(1)
    server = Server(loop, ["1"], clustered=False)
    judge = Judge(loop, server.streams, Discord(loop), lambda guild: [])
    client = Client(loop, server, judge, "1", 2.0)
    loop.random = lambda: 0.3  # always something to append
    client.begin()
    loop.run_until(40.0, most_steps=100_000)
    assert client.unanswered > 0
