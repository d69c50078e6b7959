"""p2pd.secrets: the order of sources, what is refused, and files that are private and whole."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pd import logs
from p2pd.secrets import (
    DEVICE_FILE,
    NETWORK_FILE,
    PasswordSource,
    load_network_key,
    load_or_make_device_key,
    network_secret,
    store_network_key,
)
from protocol.errors import Fault
from protocol.keys import NetworkSecret, derive_network_key, make_invite

PASSWORD = "correct horse battery"
OTHER = "another long password"
NET = "test"


@pytest.fixture(autouse=True)
def _forget_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_spellings", set())


@pytest.fixture(scope="module")
def keys() -> Callable[[str], bytes]:
    """Derived network keys, each computed once: it takes a while on purpose."""
    known: dict[str, bytes] = {}

    def key(password: str) -> bytes:
        if password not in known:
            known[password] = derive_network_key(password, NET, 0)
        return known[password]

    return key


def never(text: str) -> str:
    raise AssertionError("asked at the terminal")


def answer(password: str) -> Callable[[str], str]:
    return lambda text: password


def write(path: Path, octets: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(octets)
    path.chmod(mode)
    return path


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# -- where it comes from ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_from_a_file_without_its_line_end(
    tmp_path: Path, keys: Callable[[str], bytes], ending: bytes
) -> None:
    file = write(tmp_path / "secret", PASSWORD.encode() + ending)
    secret = network_secret(tmp_path, NET, PasswordSource(file=str(file)), {}, never)
    assert secret == NetworkSecret(keys(PASSWORD), NET, 0)


def test_blanks_and_further_line_ends_belong_to_the_password(
    tmp_path: Path, keys: Callable[[str], bytes]
) -> None:
    text = f" {PASSWORD} \n"
    file = write(tmp_path / "secret", f"{text}\n".encode())
    assert network_secret(tmp_path, NET, PasswordSource(file=str(file)), {}, never).key == keys(text)


def test_from_a_descriptor(tmp_path: Path, keys: Callable[[str], bytes]) -> None:
    read, written = os.pipe()
    os.write(written, PASSWORD.encode() + b"\n")
    os.close(written)
    assert network_secret(tmp_path, NET, PasswordSource(fd=read), {}, never).key == keys(PASSWORD)


def test_from_a_command_that_no_shell_sees(tmp_path: Path, keys: Callable[[str], bytes]) -> None:
    program = f"import sys; assert sys.argv[1:] == ['$HOME', 'a b'], sys.argv; print({PASSWORD!r})"
    command = f"{sys.executable} -c \"{program}\" $HOME 'a b'"
    assert network_secret(tmp_path, NET, PasswordSource(command=command), {}, never).key == keys(PASSWORD)


def test_from_the_credentials_of_the_service_manager(tmp_path: Path, keys: Callable[[str], bytes]) -> None:
    write(tmp_path / "p2pd-password", PASSWORD.encode(), 0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    home = tmp_path / "home"
    home.mkdir()
    store_network_key(home, NetworkSecret(keys(OTHER), NET, 0))
    assert network_secret(home, NET, PasswordSource(), environ, never).key == keys(PASSWORD)
    empty = {"CREDENTIALS_DIRECTORY": str(home)}
    assert network_secret(home, NET, PasswordSource(), empty, never).key == keys(
        PASSWORD
    )  # now the stored one


def test_the_stored_key_saves_the_question_and_the_question_makes_it(
    tmp_path: Path, keys: Callable[[str], bytes]
) -> None:
    assert network_secret(tmp_path, NET, PasswordSource(), {}, answer(PASSWORD)).key == keys(PASSWORD)
    assert network_secret(tmp_path, NET, PasswordSource(), {}, never).key == keys(PASSWORD)


def test_a_given_password_replaces_the_stored_key(tmp_path: Path, keys: Callable[[str], bytes]) -> None:
    store_network_key(tmp_path, NetworkSecret(keys(PASSWORD), NET, 0))
    file = write(tmp_path / "secret", OTHER.encode())
    assert network_secret(tmp_path, NET, PasswordSource(file=str(file)), {}, never).key == keys(OTHER)
    assert network_secret(tmp_path, NET, PasswordSource(), {}, never).key == keys(OTHER)
    again = PasswordSource(ask=True)
    assert network_secret(tmp_path, NET, again, {}, answer(PASSWORD)).key == keys(PASSWORD)


def test_an_environment_variable_is_not_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("P2PD_PASSWORD", "PASSWORD", "P2P_PASSWORD"):
        monkeypatch.setenv(name, PASSWORD)
    monkeypatch.setattr(sys, "stdin", open(os.devnull, encoding="ascii"))  # noqa: SIM115
    try:
        with pytest.raises(Fault) as caught:
            network_secret(tmp_path, NET, PasswordSource(), {"P2PD_PASSWORD": PASSWORD})
    finally:
        sys.stdin.close()
    assert caught.value.code == "usage"
    assert "--password-file" in caught.value.hint


# -- what is refused --------------------------------------------------------------------------------------


def refused(home: Path, source: PasswordSource) -> Fault:
    with pytest.raises(Fault) as caught:
        network_secret(home, NET, source, {}, never)
    assert caught.value.code == "usage"
    assert not (home / NETWORK_FILE).exists()
    return caught.value


@pytest.mark.parametrize("loose", [0o644, 0o640, 0o604, 0o660])
def test_a_password_file_that_others_can_read(tmp_path: Path, loose: int) -> None:
    file = write(tmp_path / "my secret", PASSWORD.encode(), loose)
    fault = refused(tmp_path, PasswordSource(file=str(file)))
    assert fault.hint == f"chmod 600 '{file}'"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_password_file_of_another_user(tmp_path: Path) -> None:
    file = write(tmp_path / "secret", PASSWORD.encode())
    os.chown(file, 12345, -1)
    assert "another user" in refused(tmp_path, PasswordSource(file=str(file))).message


@pytest.mark.parametrize("octets", [b"", b"\n", b"\xff\xfe not text", b"x" * 5000, b"short"])
def test_a_file_without_a_usable_password(tmp_path: Path, octets: bytes) -> None:
    file = write(tmp_path / "secret", octets)
    fault = refused(tmp_path, PasswordSource(file=str(file)))
    assert "short" not in fault.message  # never the password itself


def test_a_missing_file_a_closed_descriptor_and_broken_commands(tmp_path: Path) -> None:
    refused(tmp_path, PasswordSource(file=str(tmp_path / "missing")))
    refused(tmp_path, PasswordSource(file=str(tmp_path)))
    refused(tmp_path, PasswordSource(fd=987))
    refused(tmp_path, PasswordSource(fd=-3))
    for command in ("no-such-program-anywhere", "false", "echo 'unbalanced", "  ", "true"):
        refused(tmp_path, PasswordSource(command=command))


def test_a_command_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pd.secrets.COMMAND_SECONDS", 0.2)
    assert "did not end" in refused(tmp_path, PasswordSource(command="sleep 30")).message


def test_a_mistyped_invite_and_a_weak_password(tmp_path: Path) -> None:
    invite = make_invite(bytes(range(16)))
    wrong = invite[:-1] + ("a" if invite[-1] != "a" else "b")
    for text in (wrong, "too short"):
        with pytest.raises(Fault) as caught:
            network_secret(tmp_path, NET, PasswordSource(), {}, answer(text))
        assert caught.value.code == "usage"
        assert text not in caught.value.message
    allowed = PasswordSource(allow_weak=True)
    assert network_secret(tmp_path, NET, allowed, {}, answer("too short")).network == NET


# -- the files --------------------------------------------------------------------------------------------


def test_the_network_key_file_is_private_and_holds_no_password(
    tmp_path: Path, keys: Callable[[str], bytes]
) -> None:
    before = os.umask(0)
    try:
        network_secret(tmp_path, NET, PasswordSource(), {}, answer(PASSWORD))
        load_or_make_device_key(tmp_path)
    finally:
        os.umask(before)
    for name in (NETWORK_FILE, DEVICE_FILE):
        assert mode(tmp_path / name) == 0o600
        assert PASSWORD.encode() not in (tmp_path / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([NETWORK_FILE, DEVICE_FILE])
    document = json.loads((tmp_path / NETWORK_FILE).read_bytes())
    assert document == {"format": 1, "network": NET, "epoch": 0, "key": keys(PASSWORD).hex()}


def test_the_key_of_another_network_is_not_used(tmp_path: Path) -> None:
    store_network_key(tmp_path, NetworkSecret(bytes(32), "other", 3))
    assert load_network_key(tmp_path, NET) is None
    found = load_network_key(tmp_path, "other")
    assert found == NetworkSecret(bytes(32), "other", 3)


def test_the_device_key_stays_the_same(tmp_path: Path) -> None:
    first = load_or_make_device_key(tmp_path)
    assert load_or_make_device_key(tmp_path).device_id == first.device_id
    (tmp_path / "b").mkdir()
    assert load_or_make_device_key(tmp_path / "b").device_id != first.device_id


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[]",
        b'{"format": 2}',
        b'{"format": 1}',
        b'{"format": 1, "network": "test", "epoch": 0, "key": "zz", "seed": "zz"}',
        b'{"format": 1, "network": "test", "epoch": 0, "key": "00", "seed": "00"}',
        b'{"format": 1, "network": "test", "epoch": "x", "key": "00", "seed": 5}',
        b"\xff\xfe\x00",
    ],
)
def test_damaged_key_files_are_faults_not_crashes(tmp_path: Path, document: bytes) -> None:
    write(tmp_path / NETWORK_FILE, document)
    write(tmp_path / DEVICE_FILE, document)
    if document != b'{"format": 1}':  # no network: another network's
        with pytest.raises(Fault) as caught:
            load_network_key(tmp_path, NET)
        assert caught.value.code == "storage"
    with pytest.raises(Fault) as caught:
        load_or_make_device_key(tmp_path)
    assert caught.value.code == "storage"
    assert (tmp_path / DEVICE_FILE).read_bytes() == document  # never overwritten


def test_key_files_that_others_can_read_are_refused(tmp_path: Path) -> None:
    load_or_make_device_key(tmp_path)
    (tmp_path / DEVICE_FILE).chmod(0o640)
    with pytest.raises(Fault) as caught:
        load_or_make_device_key(tmp_path)
    assert caught.value.code == "auth"
    assert caught.value.hint == f"chmod 600 {tmp_path / DEVICE_FILE}"


def test_a_link_in_place_of_a_key_file_is_not_followed(tmp_path: Path) -> None:
    target = write(tmp_path / "target", b"x")
    (tmp_path / DEVICE_FILE).symlink_to(target)
    with pytest.raises(Fault):
        load_or_make_device_key(tmp_path)
    assert target.read_bytes() == b"x"


def test_a_failed_write_leaves_the_old_key_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_network_key(tmp_path, NetworkSecret(bytes(32), NET, 0))

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Fault) as caught:
        store_network_key(tmp_path, NetworkSecret(bytes(31) + b"x", NET, 1))
    assert caught.value.code == "storage"
    monkeypatch.undo()
    assert load_network_key(tmp_path, NET) == NetworkSecret(bytes(32), NET, 0)
    assert [path.name for path in tmp_path.iterdir()] == [NETWORK_FILE]


def test_keys_are_masked_in_the_log_from_then_on(tmp_path: Path) -> None:
    key = os.urandom(32)
    store_network_key(tmp_path, NetworkSecret(key, NET, 0))
    device = load_or_make_device_key(tmp_path)
    assert key.hex() not in logs.clean(f"key {key.hex()}")
    assert device.seed.hex() not in logs.clean(f"seed {device.seed.hex()}")
