"""A machine of its own that systemd has booted, for the time of a test: its root and a user run commands on it.

The rule: what happens there stays there (booted_root.py says how it is made), and everything of it has gone when this process has
ended, however it ended (kept.py). Needs root on a machine with systemd, logind, dbus and polkit; knows nothing of documents.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fakes import kept
from tests.fakes.booted_root import SYSTEM
from tests.fakes.snippet_machine import ROOT

BOOT_S = 90.0
COMMAND_S = 120.0
_SEPARATE = ("--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net", "--fork", "--kill-child")
_FILES = {  # what there must be -> its package in Debian
    SYSTEM: "systemd",
    "/usr/bin/dbus-daemon": "dbus",
    "/usr/lib/systemd/user/dbus.socket": "dbus-user-session",
    "/usr/lib/polkit-1/polkitd": "polkitd",
}


class CannotBoot(Exception):
    """It did not come up."""


def lacking() -> str:
    """What this machine lacks to boot another one in it; "" if nothing."""
    if os.geteuid() != 0:
        return "root"
    hierarchy = kept.hierarchy()
    if hierarchy is None or not os.access(hierarchy, os.W_OK):
        return "cgroups of version 2 that can be made"
    if subprocess.run(["unshare", *_SEPARATE, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        return "namespaces"
    for name, package in _FILES.items():
        if not Path(name).exists():
            return package
    if not any("pam_systemd" in path.read_text(errors="replace") for path in Path("/etc/pam.d").iterdir()):
        return "libpam-systemd"
    return ""


class Machine:
    """Booted between `with` and its end."""

    def __init__(self, directory: Path) -> None:
        hierarchy = kept.hierarchy()
        assert hierarchy is not None, "ask lacking() first"
        self.cgroup = hierarchy / f"p2pd-tests-{secrets.token_hex(6)}"
        self._console = directory / "console"
        self._enter: list[str] = []
        place = directory / "machine"
        place.mkdir()
        words = ["unshare", *_SEPARATE, sys.executable, "-m", "tests.fakes.booted_root", str(place)]
        with self._console.open("wb") as console:
            self._keeper = subprocess.Popen(
                [sys.executable, "-m", "tests.fakes.kept", str(self.cgroup), *words],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests: it ends when they do
            )

    def __enter__(self) -> Self:
        deadline = time.monotonic() + BOOT_S
        try:
            while not self._enter:
                self._wait(deadline)
                for process in kept.processes(self.cgroup):
                    if _systemd(process):
                        self._enter = ["nsenter", f"--target={process}", "--all"]
            while self._in("systemctl", "is-active", "--quiet", "tests.target").returncode != 0:
                self._wait(deadline)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is left of it."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        status = self._keeper.wait(kept.PATIENCE_S + 10)
        assert status == 0, f"{status}\n{self._console.read_text(errors='replace')}"

    def run(self, who: str, text: str, timeout: float = COMMAND_S) -> subprocess.CompletedProcess[str]:
        """What `who` (root or USER) types after a login, at the top of the sources: each command must succeed. Both outputs are one."""
        home = "/root" if who == "root" else f"/home/{who}"
        words = ["systemd-run", "--pipe", "--wait", "--quiet", "--collect"]
        for name, value in {"PAMName": "login", "User": who, "WorkingDirectory": f"{home}/p2pd"}.items():
            words += ["-p", f"{name}={value}"]
        script = f"set -e\n{text}".replace(
            "$", "$$"
        )  # systemd makes one of two, and looks for variables after one
        return self._in(*words, "bash", "-l", "-c", script, timeout=timeout)

    def journal(self) -> str:
        """The last of it."""
        return self._in("journalctl", "--boot", "--no-pager", "--lines=150").stdout

    def _in(self, *words: str, timeout: float = COMMAND_S) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._enter, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        )

    def _wait(self, deadline: float) -> None:
        ended = self._keeper.poll()
        if ended is not None or time.monotonic() > deadline:
            why = f"not within {BOOT_S:g} s" if ended is None else f"it ended ({ended})"
            raise CannotBoot(f"{why}\n{self._console.read_text(errors='replace')}")
        time.sleep(0.05)


def _systemd(process: int) -> bool:
    """Whether it is the first process of its namespace, and has become systemd."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
        first = any(line.startswith("NSpid:") and line.split()[-1] == "1" for line in status.splitlines())
        return first and os.readlink(f"/proc/{process}/exe") == SYSTEM
    except OSError:  # it has gone
        return False
