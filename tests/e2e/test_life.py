"""Start and end of daemons: one for a home, ports in use, signals, what is left after a kill."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from protocol.limits import MIB, SHUTDOWN_HARD_SECONDS
from tests.e2e.proxy import Proxy
from tests.fakes.processes import Daemon, Swarm, make_file, until

NOWHERE = "127.0.0.1:9"  # discard: nobody listens


def fails(daemon: Daemon, status: int, *parts: str) -> None:
    """It ends by itself with this status, and says these things on stderr."""
    before = daemon.log.read_text() if daemon.log.exists() else ""
    daemon.launch()
    assert daemon.wait() == status, daemon.log.read_text()
    said = daemon.log.read_text()[len(before) :]
    assert "p2pd: " in said
    for part in parts:
        assert part in said


def test_second_daemon_on_one_home(swarm: Swarm) -> None:
    alice = swarm.peer("alice", NOWHERE)
    second = swarm.make("second", "peer", "--tracker", NOWHERE)
    second.home = alice.home
    fails(
        second,
        13,
        f"another p2pd (pid {alice.pid}) runs in {alice.home}",
        "hint: stop it with `p2pctl shutdown`",
    )
    # the first one is not disturbed: its socket is still its own
    assert alice.ok("ping")[0]["pid"] == alice.pid


def test_port_in_use(swarm: Swarm) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for role, options in (("peer", ("--tracker", NOWHERE)), ("tracker", ())):
            daemon = swarm.make(f"late {role}", role, *options)
            daemon.ports = {"Tracker": port, "Peer": port}
            fails(daemon, 7, f"port {port} is in use", "hint: ", "--listen")
            assert not daemon.socket.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="threads are looked at by /proc")
@pytest.mark.parametrize("wanted", [None, "0", "12"])
def test_every_thread_gives_way_to_other_programs(swarm: Swarm, wanted: str | None) -> None:
    daemon = swarm.make("it", "peer", "--tracker", NOWHERE)
    if wanted is not None:
        daemon.environ["P2PD_DAEMON_NICE"] = wanted
    daemon.start()
    own = os.getpriority(os.PRIO_PROCESS, 0)
    expected = max(own, 10 if wanted is None else int(wanted))
    threads = os.listdir(f"/proc/{daemon.pid}/task")
    assert len(threads) > 5
    assert {os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in threads} == {expected}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("role", ["tracker", "peer"])
def test_signals(swarm: Swarm, role: str, number: signal.Signals) -> None:
    daemon = swarm.make("it", role, *(("--tracker", NOWHERE) if role == "peer" else ())).start()
    assert stat.S_IMODE(daemon.home.stat().st_mode) == 0o700
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o600
    began = time.monotonic()
    assert daemon.end(number) == 0
    assert time.monotonic() - began < SHUTDOWN_HARD_SECONDS
    assert not daemon.socket.exists()
    assert "did not stop in time" not in daemon.log.read_text()
    result = daemon.ctl("--json", "status")
    assert (result.status, result.error["code"]) == (3, "no_daemon")
    # and it starts again at once on the same port
    daemon.start()
    assert daemon.end(number) == 0


def test_in_the_middle_of_everything(swarm: Swarm, make_proxy: Callable[..., Proxy]) -> None:
    """Both ends of a transfer stop in time; the client that waits is told; the transfer goes on at the next start."""
    proxy = make_proxy(rate=4 * MIB)
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker, "--announce", proxy.address)
    proxy.target = ("127.0.0.1", alice.ports["Peer"])
    bob = swarm.peer("bob", tracker).connected()
    alice.ok("add", make_file(swarm.directory / "big.bin", 20 * MIB))
    folder = swarm.folder("in")
    transfer = bob.begin("big.bin", folder)
    bob.received(transfer, 2 * MIB)
    words = [sys.executable, "-m", "p2pctl", "--home", str(bob.home), "--json", "wait", transfer]
    with subprocess.Popen(
        words, env=bob.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as waiting:
        until(lambda: bob.transfer(transfer)["received_bytes"] >= 4 * MIB, 10.0, "it goes on")
        kept = bob.transfer(transfer)["received_bytes"]
        began = time.monotonic()
        assert bob.end(signal.SIGINT) == 0
        assert alice.end() == 0
        assert time.monotonic() - began < 2 * SHUTDOWN_HARD_SECONDS
        _, err = waiting.communicate(timeout=10.0)
    assert waiting.returncode == 3
    assert "goes on when p2pd starts again" in err
    proxy.rate = 0
    bob.start()
    alice.start()
    item = bob.finish(transfer)
    assert item["resumed_bytes"] >= kept, "an orderly end loses nothing"


def test_after_a_kill(swarm: Swarm) -> None:
    """The socket file and the lock file are left; neither is in the way."""
    alice = swarm.peer("alice", NOWHERE)
    alice.kill()
    assert alice.socket.is_socket()
    result = alice.ctl("--json", "status")
    assert (result.status, result.error["code"]) == (3, "no_daemon")
    assert "nobody answers" in result.error["message"]
    assert "p2pd peer" in result.error["hint"]
    alice.start()
    assert alice.ok("ping")[0]["pid"] == alice.pid


def test_no_daemon_at_all(swarm: Swarm) -> None:
    nobody = swarm.make("nobody", "peer")
    for words in (["status"], ["search", "x"], ["shutdown"]):
        result = nobody.ctl(*words)
        assert (result.status, result.out) == (3, "")
        assert "p2pd is not running" in result.err
    began = time.monotonic()
    assert nobody.ctl("ping", "--wait-daemon", "0.5").status == 3
    assert time.monotonic() - began < 5.0


def test_something_else_at_the_socket(swarm: Swarm) -> None:
    """A file at the path of the socket is not deleted."""
    alice = swarm.make("alice", "peer", "--tracker", NOWHERE)
    alice.home.mkdir(mode=0o700)
    alice.socket.write_text("precious")
    fails(alice, 2, "is in the way", "--socket")
    assert alice.socket.read_text() == "precious"


def test_settings_that_cannot_be(swarm: Swarm) -> None:
    for options, part in (
        (("--tracker", "999.1.1.1"), "not an address"),
        (("--no-such-flag",), "--no-such-flag"),
        (("--log-level", "loud"), "--log-level must be one of"),
    ):
        fails(swarm.make(f"bad {part}", "peer", *options), 2, part)


@pytest.mark.parametrize(
    "redirect", [">&-", "2>&-", "<&- >&- 2>&-", "> /dev/full", "2> /dev/full", "| exec true"]
)
def test_whoever_started_it_does_not_listen(swarm: Swarm, redirect: str) -> None:
    """It serves all the same, and nothing that it prints or logs gets into a socket or a database."""
    alice = swarm.make("alice", "peer")
    words = f'"$0" -m p2pd peer --tracker {NOWHERE} --listen 127.0.0.1:0 --home "$1" --password-file "$2" {redirect}'
    with subprocess.Popen(
        ["sh", "-c", words, sys.executable, str(alice.home), str(swarm.password_file)],
        env=swarm.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as shell:
        [item] = alice.ok("ping", "--wait-daemon", "20")
        assert alice.ok("status")[0]["pid"] == item["pid"]
        alice.ok("shutdown")
        _, err = shell.communicate(timeout=20)
    assert b"Traceback" not in err
    if "|" not in redirect:
        assert shell.returncode == 0
