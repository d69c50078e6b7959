"""`p2pd` alone on a terminal, as somebody starts who was told nothing: a tracker, a peer, and a file from one machine to the other."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fakes.processes import PASSWORD, environment, make_file, sha256
from tests.fakes.terminal import CTRL_C, CTRL_D, Terminal

ASKS_PASSWORD = "Swarm password"
ASKS_ROLE = "(t)racker or (p)eer:"
ASKS_TRACKER = "Tracker host [localhost]:"


class Machine:
    """A user with a home directory of their own."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        directory.mkdir()
        self.directory = directory
        self.environ = environment(directory)
        self._stack = stack

    def run(self, program: str, *words: str) -> Terminal:
        """A program on a terminal."""
        return self._stack.enter_context(
            Terminal([sys.executable, "-m", program, *words], self.environ, self.directory)
        )

    @property
    def settings(self) -> Path:
        return self.directory / "config" / "p2pd" / "p2pd.toml"

    def files(self) -> list[str]:
        return sorted(path.relative_to(self.directory).as_posix() for path in self.directory.rglob("*"))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


@pytest.fixture
def machine(tmp_path: Path, stack: ExitStack) -> Machine:
    return Machine(tmp_path / "m", stack)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer(terminal: Terminal, question: str, text: str) -> None:
    terminal.expect(question)
    terminal.line(text)


def test_a_tracker_two_peers_and_a_file(tmp_path: Path, stack: ExitStack) -> None:
    hub, ana, ben = (Machine(tmp_path / name, stack) for name in ("hub", "ana", "ben"))
    tracker = hub.run("p2pd")
    port = free_port()
    answer(tracker, ASKS_PASSWORD, "")
    answer(tracker, ASKS_ROLE, "t")
    answer(tracker, "Tracker port [9000]:", f"127.0.0.1:{port}")
    match = re.search(r"p2p1-\w+", tracker.expect(f"Tracker listening on 127.0.0.1:{port}"))
    assert match is not None
    invite = match[0]
    peers = []
    for machine in (ana, ben):
        peer = machine.run("p2pd")
        answer(peer, ASKS_PASSWORD, invite)
        answer(peer, ASKS_ROLE, "p")
        answer(peer, ASKS_TRACKER, f"127.0.0.1:{port}")
        answer(peer, "Peer port [8001]:", f"127.0.0.1:{free_port()}")
        peer.expect(f"Settings are in {machine.settings}")
        peer.expect("Peer listening on 127.0.0.1:")
        peer.expect("connected")
        assert invite not in peer.seen
        peers.append(peer)
    made = make_file(ana.directory / "example.txt", 1024)
    sharer, fetcher = ana.run("p2pctl"), ben.run("p2pctl")
    answer(sharer, "P2P>", "add example.txt")
    sharer.expect("Added example.txt to shared files")
    answer(fetcher, "P2P>", "search example.txt")
    fetcher.expect("#1 ")
    answer(fetcher, "P2P>", "download #1")
    fetcher.expect("Downloaded example.txt from 127.0.0.1:")
    assert sha256(ben.directory / "downloaded_example.txt") == sha256(made)
    for machine in (hub, ana, ben):
        assert machine.settings.stat().st_mode & 0o777 == 0o600
        for path in machine.directory.rglob("*"):
            assert not path.is_file() or invite.encode() not in path.read_bytes(), path
    # the next time it only runs
    written = ben.settings.read_bytes()
    peers[1].type(CTRL_C)
    assert peers[1].end() == 0
    again = ben.run("p2pd")
    assert ASKS_PASSWORD not in again.expect("Peer listening on 127.0.0.1:")
    assert ben.settings.read_bytes() == written


def test_a_second_daemon_on_one_machine(machine: Machine) -> None:
    """What is there runs already: another is asked for, with the same password, and the settings stay as they are."""
    tracker = machine.run("p2pd")
    port = free_port()
    answer(tracker, ASKS_PASSWORD, PASSWORD)
    answer(tracker, ASKS_ROLE, "t")
    answer(tracker, "Tracker port", f"127.0.0.1:{port}")
    tracker.expect("Tracker listening on")
    assert PASSWORD not in tracker.seen
    written = machine.settings.read_bytes()
    peer = machine.run("p2pd")
    peer.expect("A tracker runs already")
    peer.expect("use the one of this machine")
    peer.line("")
    answer(peer, ASKS_ROLE, "t")
    peer.expect("a tracker runs already")
    answer(peer, ASKS_ROLE, "p")
    answer(peer, ASKS_TRACKER, f"127.0.0.1:{port}")
    answer(peer, "Peer port", "127.0.0.1:0")
    peer.expect(f"p2pd peer --listen 127.0.0.1:0 --tracker 127.0.0.1:{port}")
    peer.expect("Peer listening on")
    peer.expect(f"tracker 127.0.0.1:{port}: connected")
    assert machine.settings.read_bytes() == written


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D])
@pytest.mark.parametrize("words", [[], ["init"]])
def test_leaving_in_the_middle(machine: Machine, words: list[str], key: str) -> None:
    terminal = machine.run("p2pd", *words)
    answer(terminal, ASKS_PASSWORD, "too short")
    terminal.expect("fewer than 12 characters")
    answer(terminal, ASKS_PASSWORD, PASSWORD)
    answer(terminal, ASKS_ROLE, "p")
    terminal.expect(ASKS_TRACKER)
    terminal.type(key)
    terminal.expect("nothing was written")
    assert terminal.end() == 130
    assert terminal.restored
    assert machine.files() == []


def test_init_asks_and_does_not_run(machine: Machine) -> None:
    terminal = machine.run("p2pd", "init")
    answer(terminal, ASKS_PASSWORD, PASSWORD)
    answer(terminal, ASKS_ROLE, "peer")
    answer(terminal, ASKS_TRACKER, "hub")
    answer(terminal, "Peer port", str(free_port()))
    terminal.expect("Start it with: p2pd")
    assert terminal.end() == 0
    assert 'trackers = ["hub"]' in machine.settings.read_text()
    again = machine.run("p2pd", "init")
    again.expect(f"there is already {machine.settings}")
    again.expect("--force")
    assert again.end() == 11
    old = machine.settings.read_bytes()
    forced = machine.run("p2pd", "init", "--force")
    answer(forced, ASKS_PASSWORD, "another password, also long")
    answer(forced, ASKS_ROLE, "p")
    answer(forced, ASKS_TRACKER, "")
    answer(forced, "Peer port", str(free_port()))
    forced.expect("The old settings are now")
    assert forced.end() == 0
    assert machine.settings.with_name("p2pd.toml.old").read_bytes() == old
    assert 'trackers = ["localhost"]' in machine.settings.read_text()
