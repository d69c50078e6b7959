"""p2pctl/selfchecks.py: what can be seen without a daemon."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pctl import selfchecks as checks
from p2pctl.selfchecks import ALONE, CHECKS, FAIL, OK, Scene


@pytest.fixture
def place() -> Iterator[Path]:
    """A private directory with a short path."""
    with tempfile.TemporaryDirectory(prefix="p2p") as directory:
        yield Path(directory)


def scene(place: Path, **environ: str) -> Scene:
    return Scene([str(place / "control.sock")], {"HOME": str(place), **environ})


def only(found: Iterator[dict[str, str]]) -> tuple[str, str, str]:
    (item,) = found
    assert item["check"] == "x"
    assert "\n" not in item["message"] + item["hint"]
    return item["status"], item["message"], item["hint"]


def bind(path: Path, mode: int = 0o600) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    path.chmod(mode)
    return server


def test_a_socket(place: Path) -> None:
    assert only(checks.socket("x", scene(place)))[0] == FAIL
    with bind(place / "control.sock"):
        assert only(checks.socket("x", scene(place)))[0] == OK
    os.unlink(place / "control.sock")
    (place / "control.sock").write_bytes(b"")
    assert "is no socket" in only(checks.socket("x", scene(place)))[1]


def test_a_socket_that_others_can_use(place: Path) -> None:
    with bind(place / "control.sock", 0o666):
        assert only(checks.socket("x", scene(place)))[0] == OK  # nobody gets into the directory
        place.chmod(0o755)
        status, message, hint = only(checks.socket("x", scene(place)))
        assert (status, "others can use" in message, "chmod 600" in hint) == (FAIL, True, True)
        place.chmod(0o700)


def test_the_place_where_something_is(place: Path) -> None:
    first, second = place / "first", place / "second"
    second.mkdir()
    with bind(second / "s"):
        found = Scene([str(first / "s"), str(second / "s")], {})
        assert found.path == str(second / "s")
    assert Scene([], {}).path == ""


def test_a_home(place: Path) -> None:
    assert only(checks.home("x", scene(place)))[0] == OK
    place.chmod(0o750)
    assert "chmod 700" in only(checks.home("x", scene(place)))[2]
    place.chmod(0o700)
    assert only(checks.home("x", scene(place / "missing")))[0] == FAIL


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written(place: Path) -> None:
    place.chmod(0o500)
    assert "cannot be written" in only(checks.home("x", scene(place)))[1]
    place.chmod(0o700)


def test_a_settings_file(place: Path) -> None:
    assert only(checks.config("x", scene(place)))[0] == OK  # none is fine
    assert only(checks.config("x", scene(place, P2PD_CONFIG=str(place / "missing"))))[0] == FAIL
    path = place / ".config/p2pd/p2pd.toml"
    path.parent.mkdir(parents=True)
    path.write_text('[peer]\nlisten = "8001"\n')
    assert only(checks.config("x", scene(place)))[0] == OK
    path.write_text("[peer\n\x1b")
    status, message, _ = only(checks.config("x", scene(place)))
    assert (status, str(path) in message, "\x1b" in message) == (FAIL, True, False)
    elsewhere = place / "config/p2pd"
    elsewhere.mkdir(parents=True)
    assert only(checks.config("x", scene(place, XDG_CONFIG_HOME=str(place / "config"))))[0] == OK
    path.unlink()
    path.mkdir()
    assert "cannot be read" in only(checks.config("x", scene(place)))[1]


def test_ids_are_unique() -> None:
    names = [name for name, _ in (*CHECKS, *ALONE)]
    assert len(set(names)) == len(names)
