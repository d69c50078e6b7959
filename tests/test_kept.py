"""tests/fakes/kept.py: nothing is left of a command, in whatever way it or who started it has ended."""

from __future__ import annotations

import os
import secrets
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import kept
from tests.fakes.booted import lacking
from tests.fakes.programs import lacks

DAEMON = (
    'mkdir "$0/below"; setsid sleep 1000 > /dev/null & echo $! > "$0/below/cgroup.procs"; echo begun $!; '
)


@pytest.fixture
def cgroup() -> Path:
    if what := lacking():
        lacks(f"a cgroup needs {what}")
    hierarchy = kept.hierarchy()
    assert hierarchy is not None
    return hierarchy / f"p2pd-tests-{secrets.token_hex(6)}"


def start(cgroup: Path, script: str) -> tuple[subprocess.Popen[str], int]:
    """The keeper of a command that has made a daemon in a cgroup below, and the daemon."""
    words = [sys.executable, "-m", "tests.fakes.kept", str(cgroup), "sh", "-c", script, str(cgroup)]
    keeper = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert keeper.stdout is not None
    word, pid = keeper.stdout.readline().split()
    assert word == "begun"
    return keeper, os.pidfd_open(int(pid))


def ends(process: int) -> bool:
    return bool(select.select([process], [], [], 20)[0])


def test_all_ends_when_its_input_does(cgroup: Path) -> None:
    keeper, daemon = start(cgroup, DAEMON + "exec sleep 1000")
    assert kept.processes(cgroup)
    keeper.communicate(timeout=30)
    assert keeper.returncode == 0
    assert ends(daemon)
    assert not cgroup.exists()


def test_what_a_command_leaves_ends_with_it(cgroup: Path) -> None:
    keeper, daemon = start(cgroup, DAEMON + "exit 3")
    assert keeper.wait(30) == 0
    assert ends(daemon)
    assert not cgroup.exists()
    keeper.communicate()


def test_all_ends_when_who_started_it_is_killed(cgroup: Path) -> None:
    words = [sys.executable, "-m", "tests.fakes.kept", str(cgroup), "sh", "-c", DAEMON + "wait", str(cgroup)]
    code = f"import subprocess, os; k = subprocess.Popen({words!r}, stdin=subprocess.PIPE); print(k.pid, flush=True); k.wait()"
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    keeper = os.pidfd_open(int(starter.stdout.readline()))
    daemon = os.pidfd_open(int(starter.stdout.readline().split()[1]))
    starter.kill()
    starter.communicate()
    assert ends(keeper)
    assert ends(daemon)
    assert not cgroup.exists()
