"""tests/fakes/booted.py: who runs what on a machine that systemd has booted, and that nothing of it is seen outside or is left."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fakes import kept
from tests.fakes.booted import Machine, lacking
from tests.fakes.programs import lacks
from tests.fakes.snippet_machine import USER

PATHS = ("/etc/tried", "/opt/tried", "/srv/tried", "/usr/local/bin/tried", "/usr/tried", "/var/lib/tried")


@pytest.fixture(autouse=True)
def able() -> None:
    if what := lacking():
        lacks(f"to boot a machine needs {what}")


def test_root_and_a_user_do_what_they_type_and_nothing_is_left(tmp_path: Path) -> None:
    with suppress(InterruptedError), Machine(tmp_path) as machine:
        done = machine.run("root", 'x=$(id -u); echo "$x ${HOME} $PWD $$"; cat /proc/1/comm')
        first, second = done.stdout.splitlines()
        assert first.split()[:3] == ["0", "/root", "/root/p2pd"]
        assert (second, done.returncode) == ("systemd", 0)
        done = machine.run(
            USER,
            "systemctl --user is-system-running; loginctl show-session -P Name $XDG_SESSION_ID; false; id",
        )
        assert (done.stdout, done.returncode) == ("running\nme\n", 1)
        assert machine.run("root", f"touch {' '.join(PATHS)}").returncode == 0
        assert "session opened for user me" in machine.journal()
        processes = []
        for pid in kept.processes(machine.cgroup):
            with suppress(ProcessLookupError):  # the last session is ending
                processes.append(os.pidfd_open(pid))
        assert len(processes) > 3  # systemd, the journal, logind, a bus
        raise InterruptedError
    for process in processes:
        assert select.select([process], [], [], 0)[0]  # it has ended
        os.close(process)
    assert not machine.cgroup.exists()
    assert not [path for path in PATHS if Path(path).exists()]
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
