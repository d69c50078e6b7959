"""p2pd.secrets: the order of sources, what is refused, and files that are private and whole."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pd import logs
from p2pd.net.keyring import Ring, fingerprint
from p2pd.secrets import (
    DEVICE_FILE,
    NETWORK_FILE,
    PasswordSource,
    load_or_make_device_key,
    load_ring,
    network_ring,
    store_ring,
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
    secret = network_ring(tmp_path, NET, PasswordSource(file=str(file)), {}, never)
    assert secret == Ring(NetworkSecret(keys(PASSWORD), NET, 0))


def test_blanks_and_further_line_ends_belong_to_the_password(
    tmp_path: Path, keys: Callable[[str], bytes]
) -> None:
    text = f" {PASSWORD} \n"
    file = write(tmp_path / "secret", f"{text}\n".encode())
    assert network_ring(tmp_path, NET, PasswordSource(file=str(file)), {}, never).current.key == keys(text)


def test_from_a_descriptor(tmp_path: Path, keys: Callable[[str], bytes]) -> None:
    read, written = os.pipe()
    os.write(written, PASSWORD.encode() + b"\n")
    os.close(written)
    assert network_ring(tmp_path, NET, PasswordSource(fd=read), {}, never).current.key == keys(PASSWORD)


def test_from_a_command_that_no_shell_sees(tmp_path: Path, keys: Callable[[str], bytes]) -> None:
    program = f"import sys; assert sys.argv[1:] == ['$HOME', 'a b'], sys.argv; print({PASSWORD!r})"
    command = f"{sys.executable} -c \"{program}\" $HOME 'a b'"
    assert network_ring(tmp_path, NET, PasswordSource(command=command), {}, never).current.key == keys(
        PASSWORD
    )


def test_from_the_credentials_of_the_service_manager(tmp_path: Path, keys: Callable[[str], bytes]) -> None:
    write(tmp_path / "p2pd-password", PASSWORD.encode(), 0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    home = tmp_path / "home"
    home.mkdir()
    store_ring(home, Ring(NetworkSecret(keys(OTHER), NET, 0)))
    assert network_ring(home, NET, PasswordSource(), environ, never).current.key == keys(PASSWORD)
    # What the unit gives in the place of a file that is not there is no password.
    write(tmp_path / "p2pd-password", b"\n", 0o440)
    assert network_ring(home, NET, PasswordSource(), environ, never).current.key == keys(PASSWORD)
    empty = {"CREDENTIALS_DIRECTORY": str(home)}
    assert network_ring(home, NET, PasswordSource(), empty, never).current.key == keys(
        PASSWORD
    )  # now the stored one


def test_the_stored_key_saves_the_question_and_the_question_makes_it(
    tmp_path: Path, keys: Callable[[str], bytes]
) -> None:
    assert network_ring(tmp_path, NET, PasswordSource(), {}, answer(PASSWORD)).current.key == keys(PASSWORD)
    assert network_ring(tmp_path, NET, PasswordSource(), {}, never).current.key == keys(PASSWORD)


def test_a_given_password_replaces_the_stored_key(tmp_path: Path, keys: Callable[[str], bytes]) -> None:
    store_ring(tmp_path, Ring(NetworkSecret(keys(PASSWORD), NET, 0)))
    file = write(tmp_path / "secret", OTHER.encode())
    assert network_ring(tmp_path, NET, PasswordSource(file=str(file)), {}, never).current.key == keys(OTHER)
    assert network_ring(tmp_path, NET, PasswordSource(), {}, never).current.key == keys(OTHER)
    again = PasswordSource(ask=True)
    assert network_ring(tmp_path, NET, again, {}, answer(PASSWORD)).current.key == keys(PASSWORD)


def test_an_environment_variable_is_not_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("P2PD_PASSWORD", "PASSWORD", "P2P_PASSWORD"):
        monkeypatch.setenv(name, PASSWORD)
    monkeypatch.setattr(sys, "stdin", open(os.devnull, encoding="ascii"))  # noqa: SIM115
    try:
        with pytest.raises(Fault) as caught:
            network_ring(tmp_path, NET, PasswordSource(), {"P2PD_PASSWORD": PASSWORD})
    finally:
        sys.stdin.close()
    assert caught.value.code == "usage"
    assert "--password-file" in caught.value.hint


# -- what is refused --------------------------------------------------------------------------------------


def refused(home: Path, source: PasswordSource) -> Fault:
    with pytest.raises(Fault) as caught:
        network_ring(home, NET, source, {}, never)
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
    builtin = refused(tmp_path, PasswordSource(command="exit 3"))
    assert builtin.message == "cannot run the password command: exit: No such file or directory"
    assert "sh -c" in builtin.hint


def test_a_command_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pd.secrets.COMMAND_SECONDS", 0.2)
    assert "did not end" in refused(tmp_path, PasswordSource(command="sleep 30")).message


def test_a_mistyped_invite_and_a_weak_password(tmp_path: Path) -> None:
    invite = make_invite(bytes(range(16)))
    wrong = invite[:-1] + ("a" if invite[-1] != "a" else "b")
    for text in (wrong, "too short"):
        with pytest.raises(Fault) as caught:
            network_ring(tmp_path, NET, PasswordSource(), {}, answer(text))
        assert caught.value.code == "usage"
        assert text not in caught.value.message
    allowed = PasswordSource(allow_weak=True)
    assert network_ring(tmp_path, NET, allowed, {}, answer("too short")).current.network == NET


# -- the files --------------------------------------------------------------------------------------------


def test_the_network_key_file_is_private_and_holds_no_password(
    tmp_path: Path, keys: Callable[[str], bytes]
) -> None:
    before = os.umask(0)
    try:
        network_ring(tmp_path, NET, PasswordSource(), {}, answer(PASSWORD))
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
    store_ring(tmp_path, Ring(NetworkSecret(bytes(32), "other", 3)))
    assert load_ring(tmp_path, NET) is None
    found = load_ring(tmp_path, "other")
    assert found == Ring(NetworkSecret(bytes(32), "other", 3))


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
            load_ring(tmp_path, NET)
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
    store_ring(tmp_path, Ring(NetworkSecret(bytes(32), NET, 0)))

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Fault) as caught:
        store_ring(tmp_path, Ring(NetworkSecret(bytes(31) + b"x", NET, 1)))
    assert caught.value.code == "storage"
    monkeypatch.undo()
    assert load_ring(tmp_path, NET) == Ring(NetworkSecret(bytes(32), NET, 0))
    assert [path.name for path in tmp_path.iterdir()] == [NETWORK_FILE]


def test_keys_are_masked_in_the_log_from_then_on(tmp_path: Path) -> None:
    key = os.urandom(32)
    store_ring(tmp_path, Ring(NetworkSecret(key, NET, 0)))
    device = load_or_make_device_key(tmp_path)
    assert key.hex() not in logs.clean(f"key {key.hex()}")
    assert device.seed.hex() not in logs.clean(f"seed {device.seed.hex()}")


# -- keys of several epochs -------------------------------------------------------------------------------

OLD, NEW = NetworkSecret(bytes(32), NET, 0), NetworkSecret(bytes(31) + b"n", NET, 1)


def test_both_keys_of_a_rotation_are_stored_in_one_private_file(tmp_path: Path) -> None:
    ring = Ring(OLD).rotated(NEW, 100.0, 60.0)
    store_ring(tmp_path, ring)
    assert load_ring(tmp_path, NET) == ring
    assert mode(tmp_path / NETWORK_FILE) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [NETWORK_FILE]
    for key in (OLD.key, NEW.key):
        assert key.hex() not in logs.clean(f"key {key.hex()}")


def test_an_ended_key_leaves_its_fingerprint_only(tmp_path: Path) -> None:
    ring = Ring(NetworkSecret(b"o" * 32, NET, 0)).rotated(NEW, 100.0, 60.0).finished()
    store_ring(tmp_path, ring)
    assert load_ring(tmp_path, NET) == ring
    assert (b"o" * 32).hex().encode() not in (tmp_path / NETWORK_FILE).read_bytes()


def test_a_password_file_that_was_forgotten_in_a_rotation_undoes_nothing(
    tmp_path: Path, keys: Callable[[str], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    old = NetworkSecret(keys(PASSWORD), NET, 0)
    source = PasswordSource(file=str(write(tmp_path / "secret", PASSWORD.encode())))
    overlap = Ring(old).rotated(NEW, 100.0, 60.0)
    for ring, said in ((overlap, "under way"), (overlap.finished(), "has been replaced")):
        store_ring(tmp_path, ring)
        assert network_ring(tmp_path, NET, source, {}, never) == ring
        assert load_ring(tmp_path, NET) == ring
        assert said in caplog.text
    assert ring.retired == ((0, fingerprint(old)),)


def test_the_new_password_in_the_file_is_that_of_its_epoch(tmp_path: Path) -> None:
    new = NetworkSecret(derive_network_key(OTHER, NET, 1), NET, 1)
    ring = Ring(OLD).rotated(new, 100.0, 60.0)
    store_ring(tmp_path, ring)
    source = PasswordSource(file=str(write(tmp_path / "secret", OTHER.encode())))
    assert network_ring(tmp_path, NET, source, {}, never) == ring


def test_a_password_of_another_swarm_replaces_all(tmp_path: Path) -> None:
    store_ring(tmp_path, Ring(OLD).rotated(NEW, 100.0, 60.0))
    given = network_ring(tmp_path, NET, PasswordSource(ask=True), {}, answer(PASSWORD))
    assert given == Ring(NetworkSecret(derive_network_key(PASSWORD, NET, 1), NET, 1))
    assert load_ring(tmp_path, NET) == given


def test_who_joins_later_names_the_epoch(tmp_path: Path, keys: Callable[[str], bytes]) -> None:
    source = PasswordSource(file=str(write(tmp_path / "secret", PASSWORD.encode())), epoch=1)
    assert network_ring(tmp_path, NET, source, {}, never).current.epoch == 1
    assert network_ring(tmp_path, NET, PasswordSource(), {}, never).current.key != keys(PASSWORD)


def test_a_given_password_mends_a_damaged_file_but_not_one_that_others_read(
    tmp_path: Path, keys: Callable[[str], bytes]
) -> None:
    write(tmp_path / NETWORK_FILE, b"{")
    asked = PasswordSource(ask=True)
    assert network_ring(tmp_path, NET, asked, {}, answer(PASSWORD)).current.key == keys(PASSWORD)
    (tmp_path / NETWORK_FILE).chmod(0o644)
    with pytest.raises(Fault) as caught:
        network_ring(tmp_path, NET, asked, {}, answer(PASSWORD))
    assert caught.value.code == "auth"
