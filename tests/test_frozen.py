"""What is frozen stands still at once, whatever else the machine does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.frozen import STOPPED, ZOMBIE, freeze, frozen, states, thaw
from tests.fakes.processes import until

BUSY = """
import threading
def work():
    while True: pass
for _ in range(4): threading.Thread(target=work, daemon=True).start()
print(flush=True)
work()
"""


@pytest.fixture
def busy() -> Iterator[int]:
    """A process whose threads have always something to do."""
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def used(pid: int) -> list[str]:
    """Time of a process on the cores, in clock ticks: proc(5), fields 14 and 15."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[11:13]


def test_all_of_it_stands_still_until_it_goes_on(busy: int) -> None:
    for _ in range(20):
        freeze(busy)
        assert states(busy) == [STOPPED] * 5
        before = used(busy)
        os.sched_yield()
        assert used(busy) == before
        thaw(busy)
        until(lambda: STOPPED not in states(busy), 10.0, "it goes on")


def test_it_goes_on_whatever_happens_meanwhile(busy: int) -> None:
    with pytest.raises(RuntimeError), frozen(busy):
        raise RuntimeError
    until(lambda: STOPPED not in states(busy), 10.0, "it goes on")


def test_one_that_ended_runs_no_more_either() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read()
        until(lambda: states(process.pid) == [ZOMBIE], 10.0, "it ended")
        freeze(process.pid)  # nobody has asked for its status yet
        assert process.wait() == 0


def test_one_that_is_not_there_is_an_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.send_signal(signal.SIGTERM)
    with pytest.raises(ProcessLookupError):
        freeze(process.pid)
