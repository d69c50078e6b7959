"""Where the password comes from, and where it never is."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

from protocol.keys import make_invite
from tests.fakes.processes import PASSWORD, Daemon, Swarm, write_password

NOWHERE = "127.0.0.1:9"


def key_check(daemon: Daemon) -> str:
    return str(daemon.status()["key_check"])


def nowhere_in_sight(daemon: Daemon, password: str = PASSWORD) -> None:
    """The password is not in the process table, and in no file of the home or the log."""
    secret = password.encode()
    for name in ("cmdline", "environ"):
        assert secret not in Path(f"/proc/{daemon.pid}/{name}").read_bytes(), name
    for path in [*daemon.home.rglob("*"), daemon.log]:
        if path.is_file():
            assert secret not in path.read_bytes(), path
            if path != daemon.log:
                assert path.stat().st_mode & 0o077 == 0, f"others can use {path}"


def test_every_source_gives_the_same_key(swarm: Swarm, tmp_path: Path) -> None:
    alice = swarm.peer("alice", NOWHERE)  # --password-file
    expected = key_check(alice)
    nowhere_in_sight(alice)

    by_fd = swarm.make("fd", "peer", "--tracker", NOWHERE)
    read, write = os.pipe()
    os.write(write, f"{PASSWORD}\n".encode())
    os.close(write)
    by_fd.password = ["--password-fd", str(read)]
    by_fd.start(pass_fds=(read,))
    os.close(read)

    by_command = swarm.make("command", "peer", "--tracker", NOWHERE)
    by_command.password = ["--password-command", f"cat '{swarm.password_file}'"]
    by_command.start()

    credentials = tmp_path / "credentials"
    credentials.mkdir()
    shutil.copy(swarm.password_file, credentials / "p2pd-password")
    (credentials / "p2pd-password").chmod(0o440)  # as systemd makes them
    by_systemd = swarm.make("systemd", "peer", "--tracker", NOWHERE)
    by_systemd.password = []
    by_systemd.environ["CREDENTIALS_DIRECTORY"] = str(credentials)
    by_systemd.start()

    for daemon in (by_fd, by_command, by_systemd):
        assert key_check(daemon) == expected, daemon.name
        nowhere_in_sight(daemon)

    # the second start needs none
    alice.end()
    alice.password = []
    alice.start()
    assert key_check(alice) == expected
    # but a key belongs to its network
    alice.end()
    alice.launch("--network", "another")
    assert alice.wait() == 2
    assert "no password was given and there is no terminal" in alice.log.read_text()


def test_asked_at_a_hidden_prompt(swarm: Swarm) -> None:
    bob = swarm.make("bob", "peer", "--tracker", NOWHERE)
    main, terminal = pty.openpty()
    words = [
        sys.executable,
        "-mp2pd",
        "peer",
        "--home",
        str(bob.home),
        "--listen",
        "127.0.0.1:0",
        "--tracker",
        NOWHERE,
    ]
    bob.process = subprocess.Popen(
        words,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=bob.environ,
        start_new_session=True,
        text=True,
    )
    os.close(terminal)
    seen = _read_until(main, b"): ")
    assert b"password" in seen
    os.write(main, f"{PASSWORD}\n".encode())
    seen += _read_until(main, b"Peer listening on 127.0.0.1:")
    seen += _read_until(main, b"\n")
    bob.log.write_bytes(seen)
    assert PASSWORD.encode() not in seen, "it was shown"
    nowhere_in_sight(bob)
    alice = swarm.peer("alice", NOWHERE)
    assert key_check(bob) == key_check(alice)
    os.write(main, b"\x03")  # Ctrl-C: the terminal is not its controlling one, so nothing may happen
    assert bob.end() == 0
    os.close(main)


def _read_until(fd: int, mark: bytes, seconds: float = 20.0) -> bytes:
    deadline = time.monotonic() + seconds
    seen = b""
    while mark not in seen:
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{mark!r} not within {seconds:g} s: {seen!r}"
        seen += os.read(fd, 4096)
    return seen


def test_refused(swarm: Swarm) -> None:
    weak = write_password(swarm.directory / "weak", "short one")
    loose = write_password(swarm.directory / "loose")
    loose.chmod(0o640)
    empty = write_password(swarm.directory / "empty", "")
    invite = write_password(swarm.directory / "invite", make_invite(bytes(16))[:-1] + "7")
    for source, part in (
        (["--password-file", str(weak)], "12 characters"),
        (["--password-file", str(loose)], "others can read the password file"),
        (["--password-file", str(empty)], "is empty"),
        (["--password-file", str(invite)], "invite"),
        (["--password-file", "/does/not/exist"], "cannot read the password file"),
        (["--password-command", "false"], "ended with status 1"),
        (["--password-fd", "77"], "descriptor 77"),
        ([], "no password was given and there is no terminal"),
    ):
        daemon = swarm.make(f"refused {part}", "peer", "--tracker", NOWHERE)
        daemon.password = source
        daemon.launch()
        assert daemon.wait() == 2, part
        said = daemon.log.read_text()
        assert part in said, said
        assert not (daemon.home / "network.key").exists()
    allowed = swarm.make("allowed", "peer", "--tracker", NOWHERE, "--allow-weak-password")
    allowed.password = ["--password-file", str(weak)]
    allowed.start()
    nowhere_in_sight(allowed, "short one")


def test_an_invite(swarm: Swarm) -> None:
    """`p2pd invite` prints a secret that is used as a password and never logged."""
    words = [sys.executable, "-mp2pd", "invite"]
    invite = subprocess.run(
        words, env=swarm.environ, capture_output=True, text=True, timeout=30, check=True
    ).stdout
    assert invite.startswith("p2p1-")
    swarm.password_file.write_text(invite)
    tracker = swarm.tracker("--log-level", "debug")
    alice = swarm.peer("alice", tracker, "--log-level", "debug").connected()
    nowhere_in_sight(alice, invite.strip())
    nowhere_in_sight(tracker, invite.strip())


def test_key_that_others_can_read(swarm: Swarm) -> None:
    alice = swarm.peer("alice", NOWHERE)
    alice.end()
    (alice.home / "network.key").chmod(0o644)
    alice.launch()
    assert alice.wait() == 8
    assert "chmod 600" in alice.log.read_text()


def refused_again(daemon: Daemon) -> str:
    """The hint of a question that ends with a wrong password."""
    daemon.start()
    result = daemon.ctl("--json", "search", "anything")
    assert (result.status, result.error["code"]) == (8, "auth"), result.error
    assert "another password" in result.error["message"]
    assert daemon.status()["trackers"][0]["state"] == "wrong_password"
    assert daemon.end() == 0
    return str(result.error["hint"])


def test_a_wrong_password_is_told_as_what_it_is_however_often_it_is_tried(swarm: Swarm) -> None:
    """Who mistypes it at each start is kept out for a minute, and must not have to look for the fault in the network."""
    tracker = swarm.tracker()
    wrong = swarm.make("wrong", "peer", "--tracker", tracker.address)
    wrong.password = ["--password-file", str(write_password(swarm.directory / "other", PASSWORD.title()))]
    hints = [refused_again(wrong) for _ in range(5)]
    assert "--ask-password" in hints[0]
    assert "takes none from here" not in hints[0]
    for hint in hints[2:]:  # the third one is what bans
        assert re.search(r"the tracker takes none from here, for [1-6]?\d s from now$", hint), hint
    for path in wrong.home.glob("peer.db*"):
        assert path.stat().st_mode & 0o077 == 0

    # Another key was not refused yet: what there is to say is the ban.
    wrong.password = ["--password-file", str(swarm.password_file)]
    wrong.start()
    result = wrong.ctl("--json", "search", "anything")
    assert (result.status, result.error["code"]) == (13, "refused"), result.error
    assert "wrong password" in result.error["hint"]
    assert tracker.ctl("unban", "127.0.0.1").status == 0
    assert wrong.end() == 0
    wrong.start()
    wrong.connected()


def test_a_wrong_password_where_others_have_the_right_one(swarm: Swarm) -> None:
    """An address that members come from is not banned, only listened to less often."""
    tracker = swarm.tracker()
    swarm.peer("alice", tracker).connected()
    wrong = swarm.make("wrong", "peer", "--tracker", tracker.address)
    wrong.password = ["--password-file", str(write_password(swarm.directory / "other", PASSWORD.title()))]
    for _ in range(5):
        assert "--ask-password" in refused_again(wrong)
