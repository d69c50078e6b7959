"""Runs a command in a cgroup of its own, and leaves nothing of it: python -m tests.fakes.kept CGROUP COMMAND...

The rule: when standard input ends (whoever started this has ended, in whatever way) or the command does, every process in the cgroup is
killed, also those that a daemon of it has made, and the cgroup is removed with all below it.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_S = 30.0


def hierarchy() -> Path | None:
    """Where cgroups of version 2 are made; None where there are none."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(before.split()[4])
    return None


def processes(cgroup: Path) -> list[int]:
    """All of them, as they are called here."""
    found = []
    for directory, _, _ in os.walk(cgroup):
        try:
            found += [int(word) for word in Path(directory, "cgroup.procs").read_text().split()]
        except OSError:  # it has gone
            continue
    return found


def remove(cgroup: Path) -> None:
    """With everything in it. Raises TimeoutError if something stays."""
    deadline = time.monotonic() + PATIENCE_S
    with (cgroup / "cgroup.events").open() as events:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        (cgroup / "cgroup.kill").write_text("1")
        while events.seek(0) == 0 and "populated 1" in events.read():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{cgroup}: {processes(cgroup)} stay")
            poll.poll(1000)
    for directory, _, _ in os.walk(cgroup, topdown=False):
        os.rmdir(directory)


def main() -> None:
    cgroup = Path(sys.argv[1])
    cgroup.mkdir()
    try:
        enter = 'echo $$ > "$0/cgroup.procs"; exec "$@"'
        command = subprocess.Popen(["sh", "-c", enter, cgroup, *sys.argv[2:]], stdin=subprocess.DEVNULL)
        poll = select.poll()
        poll.register(sys.stdin, select.POLLIN | select.POLLHUP)
        poll.register(os.pidfd_open(command.pid), select.POLLIN)
        poll.poll()
    finally:
        remove(cgroup)
    command.wait()


if __name__ == "__main__":
    main()
