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
STATE = PACKAGING / "systemd/user/p2pd-state.service"
"""Makes the directory that the other units of a user may write to."""
WITHOUT = PACKAGING / "systemd/no-namespaces.conf"
MOST = 2.0
"""Exposure of a unit, 0 (none) to 10."""
SERVICES = [*SYSTEM, *(unit for unit in USER if unit != STATE)]


def label(unit: Path) -> str:
    return f"{unit.parent.name}/{unit.name}"


def analyze(kind: str, directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says for the manager of the system or of a user."""
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(directory)}
    command = [needs("systemd-analyze"), f"--{kind}", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ)


def exposure(unit: Path, kind: str, directory: Path) -> float:
    done = analyze(kind, directory, "security", "--no-pager", "--offline=true", str(unit))
    match = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert match is not None, done.stdout + done.stderr
    return float(match[1])


def copied(unit: Path, directory: Path) -> Path:
    """The unit with programs that exist in the place of ours, and without the names of manual pages."""
    text = re.sub(r"(/usr/local|%h/\.local)/bin/p2p(d|ctl)", "/bin/true", unit.read_text())
    copy = directory / unit.name
    copy.write_text(re.sub(r"^Documentation=.*\n", "", text, flags=re.MULTILINE))
    return copy


def test_both_roles_have_a_unit_of_each_kind() -> None:
    assert [unit.name for unit in SYSTEM] == NAMES
    assert [unit.name for unit in USER] == sorted([*NAMES, STATE.name])


@pytest.mark.parametrize("unit", [*SYSTEM, *USER], ids=label)
def test_how_exposed_a_unit_is(unit: Path, tmp_path: Path) -> None:
    assert exposure(unit, unit.parent.name, tmp_path) < MOST


@pytest.mark.parametrize("unit", [*SYSTEM, *USER], ids=label)
def test_a_unit_is_understood(unit: Path, tmp_path: Path) -> None:
    """Nothing is left to complain of, also of the unit that it asks for."""
    for each in USER if unit in USER else SYSTEM:
        copied(each, tmp_path)
    done = analyze(unit.parent.name, tmp_path, "verify", "--man=no", str(tmp_path / unit.name))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("role", ["peer", "tracker"])
def test_what_needs_namespaces_can_be_left_out(role: str, tmp_path: Path) -> None:
    """The drop-in takes back every directive that a user's manager makes with namespaces or not at all."""
    unit = PACKAGING / f"systemd/user/p2pd-{role}.service"
    needing = re.compile(
        r"(Private|Protect|ProcSubset|CapabilityBoundingSet|TemporaryFileSystem|Bind|\w+Paths)"
    )
    wanted = {name for name in settings(unit) | settings(STATE) if needing.match(name)}
    assert set(settings(WITHOUT)) == wanted
    directory = tmp_path / "p2pd-.service.d"
    directory.mkdir()
    (directory / WITHOUT.name).write_text(WITHOUT.read_text())
    copy = copied(unit, tmp_path)
    copied(STATE, tmp_path)
    assert exposure(copy, "user", tmp_path) > 6
    assert analyze("user", tmp_path, "verify", "--man=no", str(copy)).stderr == ""


def test_a_user_unit_is_a_unit_of_the_system_in_what_it_may_call() -> None:
    """So that what was tried with one is known of the other."""
    for role in NAMES:
        system, user = (settings(PACKAGING / "systemd" / kind / role) for kind in ("system", "user"))
        filters = [
            name for name in system if name.startswith(("SystemCall", "Restrict", "Lock", "Memory", "NoNew"))
        ]
        filters = [name for name in filters if name not in ("MemoryHigh", "MemoryMax")]
        assert len(filters) > 8
        assert {name: system[name] for name in filters} == {name: user[name] for name in filters}


def test_nothing_is_saved_where_it_would_go_with_the_service() -> None:
    for unit in SERVICES:
        given = settings(unit)
        assert given["PrivateTmp"] == ["yes"]
        assert "/tmp /var/tmp" in given["ReadOnlyPaths"]
        assert given["Environment"] == [f"TMPDIR=%t/{given['RuntimeDirectory'][0]}"]


@pytest.mark.parametrize("unit", SERVICES, ids=label)
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
    assert given["SetCredential"] == [
        f"{CREDENTIAL}:\\n"
    ]  # without the file it starts with the key in the home
    assert given["Type"] == ["notify"]


def test_units_of_both_roles_have_the_same_restrictions() -> None:
    for units in (SERVICES[:2], SERVICES[2:]):
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
            "RuntimeDirectory",
            "Environment",
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
    assert {name: type(value) for name, value in job.items()} == {
        # launchd.plist(5): what it does not know it passes over without a word
        "Label": str,
        "ProgramArguments": list,
        "RunAtLoad": bool,
        "KeepAlive": dict,
        "ThrottleInterval": int,
        "ProcessType": str,
        "Umask": int,
        "SoftResourceLimits": dict,
        "EnvironmentVariables": dict,
        "StandardOutPath": str,
        "StandardErrorPath": str,
    }
    assert set(job["SoftResourceLimits"]) == {"NumberOfFiles", "Core"}
    assert job["Umask"] == 0o077
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
