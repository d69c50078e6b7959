"""p2pctl/secret.py: private sources only, and what is typed is typed twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pctl.secret import MAX_OCTETS, read_secret
from protocol.errors import Fault

SECRET = " a password with blanks "


def write(path: Path, octets: bytes, mode: int = 0o600) -> str:
    path.write_bytes(octets)
    path.chmod(mode)
    return str(path)


def never(text: str) -> str:
    raise AssertionError("asked at the terminal")


def descriptor(octets: bytes) -> int:
    read, written = os.pipe()
    os.write(written, octets)
    os.close(written)
    return read


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_without_its_line_end_only(tmp_path: Path, ending: str) -> None:
    octets = (SECRET + ending).encode()
    assert read_secret(write(tmp_path / "s", octets), None, never) == SECRET
    assert read_secret(None, descriptor(octets), never) == SECRET


@pytest.mark.parametrize("octets", [b"", b"\n", b"\xff\xfe", b"x" * (MAX_OCTETS + 1)])
def test_what_is_no_password(tmp_path: Path, octets: bytes) -> None:
    for source in ((write(tmp_path / "s", octets), None), (None, descriptor(octets))):
        with pytest.raises(Fault) as caught:
            read_secret(*source, never)
        assert caught.value.code == "usage"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_that_others_can_use(tmp_path: Path, mode: int) -> None:
    with pytest.raises(Fault) as caught:
        read_secret(write(tmp_path / "my secret", b"x" * 20, mode), None, never)
    assert caught.value.hint == f"chmod 600 '{tmp_path / 'my secret'}'"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user(tmp_path: Path) -> None:
    path = write(tmp_path / "s", b"x" * 20)
    os.chown(path, 12345, -1)
    with pytest.raises(Fault, match="another user"):
        read_secret(path, None, never)


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    for source in ((str(tmp_path / "missing"), None), (str(tmp_path), None), (None, 987), (None, -3)):
        with pytest.raises(Fault) as caught:
            read_secret(*source, never)
        assert caught.value.code == "usage"


def test_typed_twice() -> None:
    assert read_secret(None, None, lambda text: SECRET) == SECRET
    answers = iter(["one password here", "another one here"])
    with pytest.raises(Fault, match="differ"):
        read_secret(None, None, lambda text: next(answers))
    with pytest.raises(Fault, match="empty"):
        read_secret(None, None, lambda text: "")


def test_an_end_of_input_is_no_password() -> None:
    def end(text: str) -> str:
        raise EOFError

    with pytest.raises(Fault, match="no password"):
        read_secret(None, None, end)


def test_nobody_is_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with open(write(tmp_path / "s", b""), encoding="ascii") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(Fault) as caught:
            read_secret(None, None)
    assert "--password-file" in caught.value.hint
