"""p2pctl doctor: its own checks, the daemon's, the exit status, and colours for terminals only."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.errors import Fault
from protocol.version import CONTROL_VERSION, VERSION
from tests.fakes.screens import drawn
from tests.p2pctl.conftest import ROOT, Daemon, Run
from tests.p2pctl.samples import page

PING = {"version": VERSION, "uptime_s": 5.0, "pid": 7}
FITS = {"version": VERSION, "wire_version": 1, "control_version": CONTROL_VERSION}
OWN = ["daemon", "versions", "socket", "config"]


def finding(status: str, name: str = "space", hint: str = "") -> dict[str, str]:
    return {"check": name, "status": status, "message": f"{name} \x1b[31mwords", "hint": hint}


def plan(daemon: Daemon, *items: dict[str, str]) -> None:
    daemon.on |= {"ping": PING, "version": FITS, "doctor": page(*items)}


@pytest.mark.parametrize(
    ("statuses", "exit"), [(["ok"], 0), (["ok", "warn"], 0), (["ok", "fail", "warn"], 1), ([], 0)]
)
def test_exit_status(daemon: Daemon, p2pctl: Run, statuses: list[str], exit: int) -> None:
    plan(daemon, *(finding(status) for status in statuses))
    result = p2pctl("--json", "doctor")
    assert result.status == exit
    items = result.document["items"]
    assert [item["check"] for item in items] == OWN + ["space"] * len(statuses)
    assert [item["status"] for item in items[len(OWN) :]] == statuses


def test_shapes(daemon: Daemon, p2pctl: Run) -> None:
    plan(daemon, finding("ok", hint="not shown"), finding("fail", "home", "chmod 700 /h"))
    result = p2pctl("doctor")
    assert result.status == 1
    lines = result.out.splitlines()
    assert lines[0] == "ok    daemon    p2pd answers (pid 7, up 5.0 s)"
    assert lines[-3].startswith("fail  home      home ")
    assert lines[-2].endswith("-> chmod 700 /h")
    assert lines[-1] == "6 checks: 1 failed, 0 to look at"
    assert "\x1b" not in result.out
    assert "not shown" not in result.out
    assert p2pctl("-q", "doctor").out.split() == [*OWN, "space", "home"]
    assert p2pctl("--tsv", "doctor").out.splitlines()[-1].split("\t")[:2] == ["home", "fail"]
    assert len(p2pctl("--jsonl", "doctor").out.splitlines()) == 6


def test_all_is_well(daemon: Daemon, p2pctl: Run) -> None:
    plan(daemon)
    assert p2pctl("doctor").out.splitlines()[-1] == "4 checks: all is well"


def test_no_daemon(place: Path, p2pctl: Run) -> None:
    result = p2pctl("--socket", str(place / "nothing.sock"), "--json", "doctor")
    assert result.status == 1
    found = {item["check"]: item["status"] for item in result.document["items"]}
    assert found == {"daemon": "fail", "socket": "fail", "config": "ok", "home": "ok"}
    assert result.err == ""


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ({**FITS, "version": "9.9.9"}, "warn"),
        ({**FITS, "control_version": CONTROL_VERSION + 1}, "fail"),
        (FITS, "ok"),
    ],
)
def test_versions(daemon: Daemon, p2pctl: Run, version: dict[str, object], status: str) -> None:
    plan(daemon)
    daemon.on["version"] = version
    found = {item["check"]: item["status"] for item in p2pctl("--json", "doctor").document["items"]}
    assert found["versions"] == status


def test_a_daemon_that_cannot_look_at_itself(daemon: Daemon, p2pctl: Run) -> None:
    plan(daemon)
    daemon.on["doctor"] = Fault("version", "p2pd knows no doctor", "restart it")
    result = p2pctl("--json", "doctor")
    assert result.status == 1
    assert result.document["items"][-1]["message"].endswith("p2pd knows no doctor")


def test_colours_on_a_terminal(place: Path) -> None:
    main, terminal = pty.openpty()
    words = [sys.executable, "-m", "p2pctl", "--socket", str(place / "nothing"), "doctor"]
    environ = {"PYTHONPATH": str(ROOT), "HOME": str(place), "TERM": "xterm", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        words, stdin=terminal, stdout=terminal, stderr=terminal, env=environ, timeout=30, check=False
    )
    os.close(terminal)
    seen = drawn(main).decode()
    os.close(main)
    assert done.returncode == 1
    assert "\x1b[31mfail\x1b[0m  daemon" in seen
    assert "\x1b[32mok  \x1b[0m  config" in seen
