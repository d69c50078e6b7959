"""Client and daemon of different releases: real processes of a copy of this checkout that is changed as a later release might be."""

from __future__ import annotations

import shutil
from pathlib import Path

from protocol.version import VERSION
from tests.fakes.processes import ROOT, Result, Swarm

NOWHERE = "127.0.0.1:9"
TOMORROW = "9.0.0"
PACKAGES = ("protocol", "p2pctl", "p2pd")


def release(directory: Path, **edits: tuple[str, str]) -> str:
    """A later release in `directory`. `edits`: what is replaced by what in a file (`p2pctl__client` is p2pctl/client.py)."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, directory / package, ignore=shutil.ignore_patterns("__pycache__"))
    edit(directory / "protocol/version.py", f'VERSION = "{VERSION}"', f'VERSION = "{TOMORROW}"')
    for name, (old, new) in edits.items():
        edit(directory / f"{name.replace('__', '/')}.py", old, new)
    return str(directory)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} in {path}"
    path.write_text(text.replace(old, new))


def told_apart(result: Result, client: str, daemon: str) -> None:
    """The status for versions, nothing on stdout, and both versions in the hint."""
    assert (result.status, result.out) == (14, "")
    assert result.error["code"] == "version"
    assert f"p2pctl is {client} and p2pd is {daemon}: " in result.error["hint"]
    assert "restart p2pd after an upgrade" in result.error["hint"]


def test_a_client_of_tomorrow(swarm: Swarm) -> None:
    daemon = swarm.peer("daemon", NOWHERE)
    daemon.environ["PYTHONPATH"] = release(
        swarm.folder("tomorrow"),
        p2pctl__commands__list=('pages("list", {}', 'pages("list", {"colour": "red"}'),
        p2pctl__commands__all_files=('pages("all_files", {}', 'pages("paint", {"colour": None}'),
        p2pctl__commands__status=('"status", {}', '"status", {"colour": None}'),
        protocol__control=('"ping": False,', '"ping": False, "paint": False,'),
    )
    assert daemon.ctl("version").out == f"p2pctl {TOMORROW}\n"
    told_apart(daemon.ctl("--json", "list"), TOMORROW, VERSION)  # a parameter that today's daemon lacks
    told_apart(daemon.ctl("--json", "all_files"), TOMORROW, VERSION)  # a whole method
    # everything else works, also a command whose new option nobody used
    assert daemon.ok("status")[0]["version"] == VERSION
    assert daemon.ok("version", "--daemon")[1]["version"] == VERSION


def test_a_daemon_of_tomorrow(swarm: Swarm) -> None:
    daemon = swarm.make("daemon", "peer", "--tracker", NOWHERE)
    today = daemon.environ["PYTHONPATH"]
    daemon.environ["PYTHONPATH"] = release(
        swarm.folder("tomorrow"),
        p2pd__control__api=(
            '"uptime_s": self._status.uptime(),',
            '"uptime_s": self._status.uptime(), "colour": "red",',
        ),
    )
    daemon.start()
    daemon.environ["PYTHONPATH"] = today
    # what it tells more of is no trouble
    answer = daemon.ctl("ping")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith(f"p2pd {TOMORROW} answers")
    assert daemon.ok("list") == []


def test_a_daemon_that_speaks_otherwise(swarm: Swarm) -> None:
    daemon = swarm.make("daemon", "peer", "--tracker", NOWHERE)
    today = daemon.environ["PYTHONPATH"]
    daemon.environ["PYTHONPATH"] = release(
        swarm.folder("tomorrow"), protocol__version=("CONTROL_VERSION = 1", "CONTROL_VERSION = 2")
    )
    daemon.start()
    daemon.environ["PYTHONPATH"] = today
    told_apart(daemon.ctl("--json", "ping"), VERSION, TOMORROW)
    human = daemon.ctl("list")
    assert human.status == 14
    assert human.err.startswith("p2pctl: this daemon speaks control version 2\n  hint: p2pctl is ")
