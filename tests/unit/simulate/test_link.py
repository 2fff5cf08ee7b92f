"""A simulated connection loses and delays what a real one does."""

from typing import Any

from components.simulate.kv import Entry
from components.simulate.link import Link, NotConnected, Unanswered
from components.simulate.loop import Loop
from components.simulate.process import Process
from components.simulate.server import Server
from contracts import storage
from contracts.records import LeaderLease


class World:
    """One process and the server."""

    def __init__(self, seed: int = 3) -> None:
        self.loop = Loop(seed)
        self.server = Server(self.loop, ["1"], clustered=False)
        self.process = Process(self.loop, "p")
        self.link = Link(self.process, self.server)
        self.heard: list[Any] = []
        self.link.connect()
        self.run(0.1)

    def run(self, seconds: float) -> None:
        self.loop.run_until(self.loop.now_s + seconds, most_steps=100_000)

    def write(self, holder: str) -> None:
        async def task() -> None:
            try:
                value = LeaderLease(holder=holder, since_ms=0)
                self.heard.append(await self.link.write(storage.LEADERS, "a", value))
            except (NotConnected, Unanswered) as error:
                self.heard.append(type(error).__name__)

        self.process.start(task())

    def value(self) -> str:
        entry = self.server.buckets[storage.LEADERS].entries.get("a")
        return entry.value.holder if entry and isinstance(entry.value, LeaderLease) else ""


def test_a_write_is_acknowledged() -> None:
    world = World()
    world.write("x")
    world.run(1.0)
    assert world.heard == [1]
    assert world.value() == "x"


def test_a_reply_that_is_cut_off_leaves_the_asker_not_knowing_that_the_write_landed() -> None:
    world = World()
    world.link.cut(up=False, down=True)
    world.write("x")
    world.run(3.0)
    assert world.heard == ["Unanswered"]
    assert world.value() == "x"


def test_bytes_that_a_cut_holds_arrive_late_when_it_heals_in_time() -> None:
    world = World()
    connection = world.link.connection
    assert connection is not None
    world.link.cut_up = True  # without either end giving up
    world.write("x")
    world.run(3.0)
    assert world.heard == ["Unanswered"]
    assert world.value() == ""
    world.link.heal()
    world.run(0.1)
    assert world.value() == "x"


def test_nothing_is_sent_while_disconnected_and_the_client_connects_again() -> None:
    world = World()
    world.server.go_down()
    world.run(0.5)
    world.write("x")
    assert world.heard == ["NotConnected"]
    world.server.come_up()
    world.run(1.0)
    assert world.link.connected
    assert world.link.count == 2
    assert world.value() == ""


def test_a_watch_shows_what_is_there_then_every_key_in_its_order() -> None:
    world = World()
    shown: list[str] = []

    def show(entry: Entry) -> None:
        assert isinstance(entry.value, LeaderLease)
        shown.append(entry.value.holder)

    def complete(entries: dict[str, Entry]) -> None:
        shown.append(f"complete {len(entries)}")

    world.write("x")
    world.run(0.5)
    world.link.watch(storage.LEADERS, show, complete)
    world.run(0.5)
    for number in range(20):
        world.write(str(number))
    world.run(5.0)
    assert shown[0] == "complete 1"
    numbers = [int(holder) for holder in shown[1:]]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 19


def test_an_advisory_names_the_connection_of_a_process_that_was_killed() -> None:
    world = World()
    world.server.advisories_lost = 0.0
    other = Process(world.loop, "other")
    listener = Link(other, world.server)
    gone: list[int] = []
    listener.connect()
    listener.listen("sys.disconnect", gone.append)
    world.run(0.1)
    client = world.link.client
    world.process.end()
    world.run(0.1)
    assert gone == [client]


def test_a_server_that_drops_a_connection_its_client_believes_in_tells_at_once() -> None:
    world = World()
    world.link.cut(up=True, down=True, noticed=True)
    world.run(0.1)
    assert world.server.connections == {}
    assert world.link.connected


def test_a_watched_value_comes_twice_at_times_and_never_after_a_newer_one() -> None:
    world = World()
    world.server.twice = 1.0
    told: list[str] = []
    world.server.on_twice = lambda what, guild: told.append(what)
    shown: list[int] = []

    def show(entry: Entry) -> None:
        assert isinstance(entry.value, LeaderLease)
        shown.append(int(entry.value.holder))

    world.link.watch(storage.LEADERS, show, lambda entries: None)
    world.run(0.5)
    for number in range(20):
        world.write(str(number))
        world.run(0.1)
    world.run(2.0)
    assert shown == sorted(shown)
    assert shown[-2:] == [19, 19]
    assert len(shown) - len(set(shown)) == len(told) > 1
    assert set(told) == {"value of leaders"}


def test_a_live_message_and_an_advisory_come_twice_at_times() -> None:
    world = World()
    world.server.twice = 1.0
    told: list[tuple[str, str]] = []
    world.server.on_twice = lambda what, guild: told.append((what, guild))
    heard: list[Any] = []
    world.link.listen("1", lambda given: heard.append(given.sequence))
    world.link.listen("sys.disconnect", heard.append)
    world.run(0.1)
    world.server.append("1", "dispatch", "a")
    world.server.append("1", "dispatch", "b")
    world.run(2.0)
    assert heard[:2] == [1, 2]
    assert sorted(heard) == [1, 1, 2, 2]
    world.server.advise(77)
    world.run(2.0)
    assert heard[4:] == [77, 77]
    assert told == [("live message", "1"), ("live message", "1"), ("advisory", "")]
