"""Processes in virtual time: stopped, killed, and with clocks of their own."""

from components.simulate.loop import Loop
from components.simulate.process import Process
from components.simulate.tasks import Answer


def test_a_process_that_wakes_handles_queued_messages_before_its_timers() -> None:
    loop = Loop(1)
    process = Process(loop, "p")
    handled: list[str] = []
    process.timer(1.0, lambda: handled.append("timer"))
    process.stop()
    loop.after(2.0, lambda: process.receive(lambda: handled.append("message")))
    loop.after(3.0, process.go_on)
    loop.run_until(10.0, most_steps=100)
    assert handled == ["message", "timer"]


def test_what_a_killed_process_had_planned_never_happens() -> None:
    loop = Loop(1)
    process = Process(loop, "p")
    handled: list[str] = []
    answer = Answer()

    async def task() -> None:
        await answer
        handled.append("task")

    process.start(task())
    process.timer(1.0, lambda: handled.append("timer"))
    loop.after(0.5, process.end)
    loop.after(2.0, lambda: process.receive(answer.give))
    loop.run_until(10.0, most_steps=100)
    assert handled == []


def test_clocks_run_at_rates_of_their_own_and_go_on_while_a_process_is_stopped() -> None:
    loop = Loop(1)
    processes = [Process(loop, str(number)) for number in range(50)]
    began = [process.now_s() for process in processes]
    for process in processes:
        process.stop()
    loop.run_until(100.0, most_steps=10)
    spans = [process.now_s() - at for process, at in zip(processes, began, strict=True)]
    assert max(spans) / min(spans) < 1.1  # less than margin / TTL (0006)
    assert max(spans) / min(spans) > 1.05
    for process in processes:
        assert abs(process.true_s(process.now_s()) - loop.now_s) < 1e-6
