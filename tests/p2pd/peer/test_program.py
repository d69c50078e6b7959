"""p2pd/peer/program.py: programs that behave, and such that do not."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from p2pd.peer import program
from p2pd.peer.program import KEPT_OCTETS, Outcome
from tests.fakes.processes import until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little patience with those that do not end."""
    monkeypatch.setattr(program, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(program, "LOOK_SECONDS", 0.01)


def run(script: str, directory: Path, document: bytes = b"{}\n", **how: Any) -> Outcome:
    """Runs a program of Python; how it ended."""
    stop = how.pop("stop", threading.Event())
    started = how.pop("started", lambda pid: None)
    argv = how.pop("argv", [sys.executable, "-c", script])
    return program.run(argv, document, directory, {"PATH": "/bin"}, how.pop("seconds", 20.0), stop, started)


def test_it_gets_the_document_the_directory_and_the_environment(tmp_path: Path) -> None:
    document = b"x" * 300_000  # more than a pipe holds
    script = "import os, sys; print(len(sys.stdin.read()), os.getcwd(), sorted(os.environ))"
    pids: list[int] = []
    outcome = run(script, tmp_path, document, started=pids.append)
    assert (outcome.exit, outcome.reason, outcome.left_out) == (0, "", 0)
    length, where, *names = outcome.output.decode().split()
    assert (length, where) == ("300000", str(tmp_path))
    assert "'PATH']" in names[-1]
    assert "HOME" not in outcome.output.decode()
    assert len(pids) == 1


def test_one_that_does_not_read_and_says_much(tmp_path: Path) -> None:
    outcome = run("print('x' * 1_000_000)", tmp_path, b"y" * 300_000)
    assert (outcome.exit, len(outcome.output), outcome.left_out) == (0, KEPT_OCTETS, 1_000_001 - KEPT_OCTETS)


def test_both_outputs_are_kept_in_order(tmp_path: Path) -> None:
    script = "import os; os.write(1, b'a'); os.write(2, b'b'); os.write(1, b'c'); raise SystemExit(7)"
    outcome = run(script, tmp_path)
    assert (outcome.output, outcome.exit, outcome.reason) == (b"abc", 7, "exit status 7")


def test_one_that_a_signal_ends(tmp_path: Path) -> None:
    outcome = run("import os; os.kill(os.getpid(), 9)", tmp_path)
    assert (outcome.exit, outcome.reason) == (None, "ended by signal 9")


@pytest.mark.parametrize("argv", [["/nonexistent/program"], ["/etc/passwd"], ["/bin/a\0b"]])
def test_one_that_cannot_be_run(tmp_path: Path, argv: list[str]) -> None:
    outcome = run("", tmp_path, argv=argv)
    assert outcome.exit is None
    assert outcome.reason.startswith("it cannot be run: ")


STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    print(child, flush=True)
for stream in (0, 1, 2):
    if len(sys.argv) > 1:
        os.close(stream)
time.sleep(600)
"""


def gone(pid: int) -> bool:
    """No such process, or one that only waits to be buried."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2]
    except FileNotFoundError:
        return True
    return state.startswith("Z")


@pytest.mark.parametrize("closes", [False, True])
def test_one_that_takes_too_long_ends_with_all_its_children(tmp_path: Path, closes: bool) -> None:
    argv = [sys.executable, "-c", STUBBORN, *(["close"] if closes else [])]
    outcome = run("", tmp_path, seconds=0.5, argv=argv)
    assert (outcome.exit, outcome.reason) == (None, "killed: it took more than 0.5 s")
    child = int(outcome.output)
    until(lambda: gone(child), 10.0, "its child is gone")


def test_one_is_ended_when_we_stop(tmp_path: Path) -> None:
    stop = threading.Event()
    outcome = run("import time; time.sleep(600)", tmp_path, stop=stop, started=lambda pid: stop.set())
    assert outcome.reason == "killed: p2pd stops"
    assert outcome.duration_s < 10


def test_a_child_that_keeps_the_pipe_holds_up_nobody(tmp_path: Path) -> None:
    script = "import os, time\nif os.fork():\n print('done', flush=True); os._exit(0)\ntime.sleep(600)"
    pids: list[int] = []
    outcome = run(script, tmp_path, started=pids.append)
    os.killpg(pids[0], 9)
    assert (outcome.exit, outcome.output) == (0, b"done\n")
