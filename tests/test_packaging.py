"""packaging/: units that score well and name options that exist, a property list that is one, examples that are accepted."""

from __future__ import annotations

import os
import plistlib
import re
import subprocess
from pathlib import Path

import pytest

from p2pctl import cli as p2pctl
from p2pd.cli import parser
from p2pd.config import load
from p2pd.process import DESCRIPTORS_SPARE
from p2pd.secrets import CREDENTIAL
from protocol.limits import MAX_TRACKER_CONNECTIONS
from tests.fakes.programs import needs
from tests.fakes.sandbox import settings

ROOT = Path(__file__).resolve().parent.parent
PACKAGING = ROOT / "packaging"
SYSTEM = sorted((PACKAGING / "systemd/system").glob("*.service"))
USER = sorted((PACKAGING / "systemd/user").glob("*.service"))
NAMES = ["p2pd-peer.service", "p2pd-tracker.service"]
MOST = {"system": 2.0, "user": 7.0}
"""Exposure of a unit, 0 (none) to 10. A user's unit may read and write what its user may: that is what it is for."""


def test_both_roles_have_a_unit_of_each_kind() -> None:
    assert [unit.name for unit in SYSTEM] == NAMES
    assert [unit.name for unit in USER] == NAMES


@pytest.mark.parametrize("unit", [*SYSTEM, *USER], ids=lambda unit: f"{unit.parent.name}/{unit.name}")
def test_how_exposed_a_unit_is(unit: Path, tmp_path: Path) -> None:
    kind = unit.parent.name
    words = [needs("systemd-analyze"), "security", "--no-pager", "--offline=true", f"--{kind}", str(unit)]
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environ)
    match = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert match is not None, done.stdout + done.stderr
    assert float(match[1]) < MOST[kind], done.stdout


@pytest.mark.parametrize("unit", SYSTEM, ids=lambda unit: unit.name)
def test_a_unit_is_understood(unit: Path, tmp_path: Path) -> None:
    """With programs that exist in the place of ours, nothing is left to complain of."""
    text = re.sub(r"/usr/local/bin/p2p(d|ctl)", "/bin/true", unit.read_text())
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"^Documentation=.*\n", "", text, flags=re.MULTILINE))
    done = subprocess.run(
        [needs("systemd-analyze"), "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", [*SYSTEM, *USER], ids=lambda unit: f"{unit.parent.name}/{unit.name}")
def test_the_commands_of_a_unit_are_commands(unit: Path) -> None:
    given = settings(unit)
    program, *words = given["ExecStart"][-1].split()
    assert program.endswith("/p2pd")
    parsed = parser().parse_args(words)
    assert f"p2pd-{parsed.command}.service" == unit.name
    program, option, _, command = given["ExecReload"][-1].split()
    assert program.endswith("/p2pctl")
    assert (option, command in p2pctl.summaries()) == ("--home", True)
    assert given["LoadCredential"][-1].startswith(f"{CREDENTIAL}:")
    assert given["Type"] == ["notify"]


def test_units_of_both_roles_have_the_same_restrictions() -> None:
    for units in (SYSTEM, USER):
        peer, tracker = (settings(unit) for unit in units)
        own = {
            "Description",
            "ExecStart",
            "ExecReload",
            "User",
            "Group",
            "DynamicUser",
            "StateDirectory",
            "ReadWritePaths",
            # a tracker gives way to nobody, and has ten thousand connections
            "Nice",
            "CPUSchedulingPolicy",
            "LimitNOFILE",
            "MemoryHigh",
            "MemoryMax",
        }
        assert int(tracker["LimitNOFILE"][0]) >= MAX_TRACKER_CONNECTIONS + DESCRIPTORS_SPARE
        assert {k: v for k, v in peer.items() if k not in own} == {
            k: v for k, v in tracker.items() if k not in own
        }


def test_the_property_list_is_one() -> None:
    with (PACKAGING / "launchd/p2pd.peer.plist").open("rb") as stream:
        job = plistlib.load(stream)
    program, *words = job["ProgramArguments"]
    assert program.endswith("/p2pd")
    assert parser().parse_args(words).command == "peer"
    assert job["Label"] == "p2pd.peer"
    assert job["KeepAlive"] == {"SuccessfulExit": False}
    assert load("peer", {"config": "/dev/null"}, job["EnvironmentVariables"]).log_file is not None


@pytest.mark.parametrize("role", ["peer", "tracker"])
def test_the_examples_of_settings_are_accepted(role: str) -> None:
    assert load(role, {"config": str(PACKAGING / f"config/{role}.toml")}, {}).role == role


def test_the_container_runs_as_nobody_special_and_says_how_it_is() -> None:
    lines = (PACKAGING / "container/Containerfile").read_text().splitlines()
    final = lines[max(index for index, line in enumerate(lines) if line.startswith("FROM ")) :]
    text = "\n".join(final)
    assert "\nUSER p2pd\n" in text
    assert text.index("\nUSER p2pd\n") > text.index("\nRUN ")
    assert re.search(r'^HEALTHCHECK .*CMD \["p2pctl", "ping"\]$', text, re.MULTILINE)
    assert re.search(r"^VOLUME .*/var/lib/p2pd", text, re.MULTILINE)
    assert '\nENTRYPOINT ["p2pd"]\nCMD ["peer"]' in text
