"""Runs a program under the restrictions of a unit that are filters of system calls: `python sandbox.py UNIT PROGRAM ARGUMENT...`

What systemd does for SystemCallFilter=, MemoryDenyWriteExecute=, RestrictAddressFamilies=, RestrictNamespaces=, RestrictRealtime=,
RestrictSUIDSGID= and LockPersonality= (src/shared/seccomp-util.c), with libseccomp's module for Python (Debian: python3-seccomp) and
the lists of `systemd-analyze syscall-filter`. Namespaces and cgroups are not made here.
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

MODULES = "/usr/lib/python3/dist-packages"
SHM_EXEC = 0o100000
SCHED_NORMAL = (0, 3, 5)  # other, batch, idle; what RestrictRealtime= leaves
FAMILIES = 46  # AF_MAX
NAMESPACES = (
    0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000 | 0x00020000 | 0x00000080
)


def settings(unit: Path) -> dict[str, list[str]]:
    """The assignments of a unit, in order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", ";", "[")):
            found.setdefault(name, []).append(value)
    return found


def members(group: str) -> set[str]:
    """The system calls of `@group`, groups in it included."""
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter", group], capture_output=True, text=True, check=True
    )
    found: set[str] = set()
    for word in done.stdout.split("\n")[1:]:
        word = word.strip()
        if word.startswith("@"):
            found |= members(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def allowed(lines: list[str]) -> set[str]:
    """What SystemCallFilter= lines leave: the first is a list of what is allowed, `~` takes away."""
    found: set[str] = set()
    for line in lines:
        names = set()
        for word in line.removeprefix("~").split():
            names |= members(word) if word.startswith("@") else {word}
        found = found - names if line.startswith("~") else found | names
    return found


def load(unit: Path) -> None:
    """From here on this process may do no more than the unit allows."""
    sys.path.append(MODULES)
    import seccomp

    given = settings(unit)
    on = {name for name, values in given.items() if values[-1] == "yes"}
    narrow = seccomp.SyscallFilter(seccomp.ALLOW)
    deny = seccomp.ERRNO(errno.EPERM)
    arg, eq, masked = seccomp.Arg, seccomp.EQ, seccomp.MASKED_EQ
    if "MemoryDenyWriteExecute" in on:
        both = mmap.PROT_WRITE | mmap.PROT_EXEC
        narrow.add_rule(deny, "mmap", arg(2, masked, both, both))
        narrow.add_rule(deny, "mprotect", arg(2, masked, mmap.PROT_EXEC, mmap.PROT_EXEC))
        narrow.add_rule(deny, "pkey_mprotect", arg(2, masked, mmap.PROT_EXEC, mmap.PROT_EXEC))
        narrow.add_rule(deny, "shmat", arg(2, masked, SHM_EXEC, SHM_EXEC))
    if families := given.get("RestrictAddressFamilies"):
        kept = {int(getattr(socket, name)) for line in families for name in line.split()}
        unsupported = seccomp.ERRNO(errno.EAFNOSUPPORT)
        for family in set(range(FAMILIES)) - kept:
            narrow.add_rule(unsupported, "socket", arg(0, eq, family))
    if "RestrictNamespaces" in on:
        for flag in (1 << bit for bit in range(32) if NAMESPACES >> bit & 1):
            narrow.add_rule(deny, "unshare", arg(0, masked, flag, flag))
            narrow.add_rule(deny, "clone", arg(0, masked, flag, flag))
        narrow.add_rule(deny, "setns")
        narrow.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    if "RestrictRealtime" in on:
        for policy in set(range(8)) - set(SCHED_NORMAL):
            narrow.add_rule(deny, "sched_setscheduler", arg(1, eq, policy))
    if "RestrictSUIDSGID" in on:
        for bit in (stat.S_ISUID, stat.S_ISGID):
            for name, place in (
                ("chmod", 1),
                ("fchmod", 1),
                ("fchmodat", 2),
                ("mkdir", 1),
                ("mkdirat", 2),
                ("mknod", 1),
            ):
                narrow.add_rule(deny, name, arg(place, masked, bit, bit))
            for name, place in (("open", 2), ("openat", 3)):
                creating = arg(place - 1, masked, os.O_CREAT, os.O_CREAT)
                narrow.add_rule(deny, name, creating, arg(place, masked, bit, bit))
    if "LockPersonality" in on:
        narrow.add_rule(deny, "personality")
    narrow.load()
    wide = seccomp.SyscallFilter(deny)
    for name in sorted(allowed(given["SystemCallFilter"])):
        try:
            wide.add_rule(seccomp.ALLOW, name)
        except RuntimeError:
            pass  # of another architecture
    wide.load()


if __name__ == "__main__":
    load(Path(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
