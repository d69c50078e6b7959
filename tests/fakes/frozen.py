"""Processes that stand still, as a program does that hangs: its connections stay, and nothing of it runs.

The rule: `freeze` returns when that is so. kill(2) returns before it: one thread takes the signal once it has a core, and only then are
the others told; on a machine that is busy they go on for long enough to take in a request, and it is carried out when they run again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.fakes.processes import until

SECONDS = 10.0
STOPPED, ZOMBIE = "TZ"  # proc(5), /proc/[pid]/stat


def states(pid: int) -> list[str]:
    """A letter for each thread of a process."""
    found = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found.append(stat.read_text().rpartition(") ")[2][0])
    return found


def freeze(pid: int) -> None:
    """All threads of a process stand still from now on."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: set(states(pid)) <= {STOPPED, ZOMBIE}, SECONDS, f"process {pid} stands still")


def thaw(pid: int) -> None:
    """It goes on."""
    os.kill(pid, signal.SIGCONT)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """It stands still for as long as this lasts."""
    try:
        freeze(pid)
        yield
    finally:
        thaw(pid)
