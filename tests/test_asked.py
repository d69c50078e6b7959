"""tests/fakes/asked.py: the stand-ins for systemctl and podman refuse what packaging/ does not have."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import Fault
from tests.fakes.asked import UNITS_OF_USER, Unlike, loginctl, podman, systemctl
from tests.fakes.programs import needs

UNIT = "[Unit]\nDescription=x\n[Service]\nExecStart=/bin/true\n"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    (tmp_path / "one.service").write_text(UNIT + "[Install]\nWantedBy=multi-user.target\n")
    (tmp_path / "loose.service").write_text(UNIT)
    (tmp_path / "broken.service").write_text(UNIT.replace("/bin/true", "/bin/no-such-program"))
    return tmp_path


@pytest.mark.parametrize(
    "words", ["daemon-reload", "enable --now one", "restart one.service loose", "stop loose"]
)
def test_what_systemctl_would_do(units: Path, words: str) -> None:
    systemctl(shlex.split(words), units)


@pytest.mark.parametrize(
    "words",
    [
        "enable",
        "enable missing",
        "enable loose",
        "reload one",
        "start --now one",
        "daemon-reload one",
        "strat one",
        "-x",
    ],
)
def test_what_systemctl_would_not_do(units: Path, words: str) -> None:
    with pytest.raises(Unlike):
        systemctl(shlex.split(words), units)


def test_a_unit_whose_program_is_missing(units: Path) -> None:
    needs("systemd-analyze")
    with pytest.raises(Unlike, match="no-such-program"):
        systemctl(["start", "broken"], units)


def test_units_of_a_user_are_elsewhere(units: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(units))
    with pytest.raises(Unlike, match=r"no unit .*/\.config/systemd/user/one\.service"):
        systemctl(["--user", "start", "one"])
    (units / UNITS_OF_USER).mkdir(parents=True)
    (units / "one.service").rename(units / UNITS_OF_USER / "one.service")
    systemctl(["--user", "enable", "--now", "one"])


def test_loginctl() -> None:
    loginctl(["enable-linger"])
    with pytest.raises(Unlike):
        loginctl(["disable-linger"])


BUILD = "build --format docker -f packaging/container/Containerfile -t p2pd ."
RUN = "run -d --name peer -p 8001:8001 -v state:/var/lib/p2pd --secret s,uid=8001 -e P2PD_PASSWORD_FILE=/run/secrets/s p2pd"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(Path(__file__).resolve().parent.parent)
    secret = tmp_path / "secret"
    secret.write_text("words")
    state: dict[str, Any] = {}
    podman(["secret", "create", "s", str(secret)], state)
    return state


def test_what_podman_would_do(state: dict[str, Any]) -> None:
    all_of([BUILD, RUN, "exec peer p2pctl status"], state)
    assert (list(state["images"]), state["containers"]) == (["p2pd"], ["peer"])


def all_of(lines: list[str], state: dict[str, Any]) -> None:
    for words in lines:
        podman(words.split(), state)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("p2pd .", "p2pd /tmp"),
        ("docker", "oci"),
        ("Containerfile", "Dockerfile"),
        ("8001:8001", "8001:8002"),
        (":/var/lib/p2pd", ":/data"),
        ("state:", "/no/such/place:"),
        ("secret s,", "secret t,"),
        ("uid=8001", "uid=0"),
        ("secrets/s", "secrets/t"),
        ("P2PD_PASSWORD_FILE=/run/secrets/s", "P2PD_PEER_LISTN=1"),
        ("uid=8001 -e P2PD_PASSWORD_FILE=/run/secrets/s p2pd", "uid=8001 other"),
        ("p2pctl status", "p2pctl statsu"),
        ("exec peer", "exec pear"),
        ("run -d", "rnu -d"),
    ],
)
def test_what_podman_would_not_do(state: dict[str, Any], before: str, after: str) -> None:
    lines = [line.replace(before, after) for line in (BUILD, RUN, "exec peer p2pctl status")]
    assert lines != [BUILD, RUN, "exec peer p2pctl status"]
    with pytest.raises((Unlike, OSError, Fault)):
        all_of(lines, state)
