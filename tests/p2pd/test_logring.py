"""p2pd.logring: what is remembered, what is known to be lost, and who is woken."""

from __future__ import annotations

import asyncio
import threading

from p2pd.logring import Line, Ring, at_least
from tests.fakes.reactors import DEADLINE


def line(message: str, level: str = "info", exception: str = "") -> Line:
    return Line(0.0, level, "area", message, exception)


def messages(found: list[tuple[int, Line]]) -> list[tuple[int, str]]:
    return [(number, one.message) for number, one in found]


def test_the_newest_and_those_after() -> None:
    ring = Ring()
    assert ring.newest(5, "debug") == ([], 0)
    assert ring.after(0, 10) == ([], 0, 0)
    for number in range(1, 6):
        ring.add(line(f"m{number}", "error" if number == 2 else "info"))
    assert messages(ring.newest(2, "debug")[0]) == [(4, "m4"), (5, "m5")]
    assert messages(ring.newest(2, "warning")[0]) == [(2, "m2")]
    assert ring.newest(0, "debug") == ([], 5)
    found, last, lost = ring.after(3, 10)
    assert (messages(found), last, lost) == ([(4, "m4"), (5, "m5")], 5, 0)
    found, last, lost = ring.after(1, 2)
    assert (messages(found), last, lost) == ([(2, "m2"), (3, "m3")], 3, 0)
    assert ring.after(5, 10) == ([], 5, 0)
    assert ring.last() == 5


def test_a_slow_reader_learns_what_it_missed() -> None:
    ring = Ring(lines=3)
    for number in range(1, 11):
        ring.add(line(f"m{number}"))
    found, last, lost = ring.after(4, 10)
    assert (messages(found), last, lost) == ([(8, "m8"), (9, "m9"), (10, "m10")], 10, 3)


def test_long_lines_push_more_out() -> None:
    ring = Ring(characters=1000)
    for _ in range(5):
        ring.add(line("x" * 300, exception="y" * 100))
    assert len(ring.newest(10, "debug")[0]) == 2
    ring.add(line("z" * 5000))
    assert len(ring.newest(10, "debug")[0]) == 1


def test_levels() -> None:
    assert at_least(line("", "critical"), "error")
    assert at_least(line("", "info"), "info")
    assert not at_least(line("", "debug"), "info")


def test_a_line_of_another_thread_wakes_who_waits() -> None:
    ring = Ring()

    async def work() -> None:
        waiting = [asyncio.create_task(ring.wait(0, DEADLINE)) for _ in range(2)]
        await asyncio.sleep(0)
        threading.Thread(target=ring.add, args=(line("x"),)).start()
        await asyncio.wait_for(asyncio.gather(*waiting), DEADLINE)
        await asyncio.wait_for(ring.wait(0, DEADLINE), 1.0)
        await ring.wait(1, 0.01)
        stuck = asyncio.create_task(ring.wait(1, DEADLINE))
        await asyncio.sleep(0)
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)

    asyncio.run(work())
    assert ring._waiting == []
    ring.add(line("y"))
