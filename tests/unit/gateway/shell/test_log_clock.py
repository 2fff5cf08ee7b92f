"""The log's time: a pod's wall clock that jumps moves nothing."""

from components.gateway.shell.log_clock import WINDOW_S, LogClock


class Clocks:
    def __init__(self) -> None:
        self.steady_s = 50.0
        self.wall_ms = 1_000_000
        self.clock = LogClock(lambda: self.steady_s, lambda: self.wall_ms)


def test_before_the_first_message_it_is_the_wall_clocks_time() -> None:
    assert Clocks().clock() == 1_000_000


def test_it_goes_on_from_the_servers_time_whatever_the_wall_clock_does() -> None:
    clocks = Clocks()
    clocks.clock.saw(2_000_000)
    clocks.steady_s += 3.0
    clocks.wall_ms += 86_400_000
    assert clocks.clock() == 2_003_000


def test_a_message_that_came_late_does_not_set_it_back() -> None:
    clocks = Clocks()
    clocks.clock.saw(2_000_000)
    clocks.steady_s += 5.0
    clocks.clock.saw(2_001_000)
    assert clocks.clock() == 2_005_000


def test_a_message_of_a_later_time_sets_it_forward() -> None:
    clocks = Clocks()
    clocks.clock.saw(2_000_000)
    clocks.clock.saw(2_000_500)
    assert clocks.clock() == 2_000_500


def test_a_steady_clock_that_runs_fast_is_corrected_after_two_windows() -> None:
    clocks = Clocks()
    server_ms = 2_000_000.0
    for _ in range(6):
        clocks.clock.saw(int(server_ms))
        clocks.steady_s += WINDOW_S
        server_ms += WINDOW_S * 990  # the steady clock gains a hundredth
    clocks.clock.saw(int(server_ms))
    assert 0 <= clocks.clock() - server_ms <= 2 * WINDOW_S * 10
