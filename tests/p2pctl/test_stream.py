"""p2pctl/stream.py: octets to standard output and nothing else; every way it can end has its status."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.p2pctl.conftest import Daemon, Start

SECONDS = 30
DATA = os.urandom(3_000_000)


def item(**changes: Any) -> dict[str, Any]:
    return {
        "stream": "s-1",
        "id": "a" * 64,
        "sha256": "b" * 64,
        "name": "a.bin",
        "size_bytes": len(DATA),
        "path": "",
        "state": "done",
        "sent_bytes": len(DATA),
        "rate_bytes_per_s": 1000,
        "eta_s": None,
        "sources": 1,
        "from": ["192.168.1.100:8001"],
        "error": None,
        **changes,
    }


class Tap:
    """The daemon's end: one client, to whom `serve(conn)` is done."""

    def __init__(self, path: Path, serve: Callable[[socket.socket], object]) -> None:
        self.path = path
        self.gone = threading.Event()
        self.served = threading.Event()
        self._serve = serve
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(SECONDS)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            conn, _ = self._listener.accept()
        except OSError:
            return
        with conn:
            conn.settimeout(SECONDS)
            try:
                self._serve(conn)
                self.served.set()
            except ConnectionError:
                self.gone.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def endless(conn: socket.socket) -> None:
    while True:
        conn.sendall(DATA)


def stuck(conn: socket.socket) -> None:
    """A few octets, then nothing until the client goes."""
    conn.sendall(b"some")
    if not conn.recv(1):
        raise ConnectionResetError


Plan = Callable[..., Tap]


@pytest.fixture
def plan(daemon: Daemon, place: Path) -> Iterator[Plan]:
    """What the daemon serves, and how it says that it ended."""
    taps: list[Tap] = []

    def make(serve: Callable[[socket.socket], object] | None = None, **end: Any) -> Tap:
        tap = Tap(place / "s-1.sock", serve or (lambda conn: conn.sendall(DATA)))
        taps.append(tap)
        daemon.on["stream"] = item(state="locating", sent_bytes=0, path=str(tap.path))
        daemon.on["stream_status"] = item(**end)
        return tap

    yield make
    for tap in taps:
        tap.close()


def finish(process: subprocess.Popen[bytes]) -> tuple[int, bytes, str]:
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out or b"", err.decode()


def test_the_octets_and_nothing_else(plan: Plan, start: Start, daemon: Daemon) -> None:
    plan()
    code, out, err = finish(start("download", "a.bin", "-o", "-"))
    assert (code, out) == (0, DATA)
    assert err.startswith("Streamed a.bin from 192.168.1.100:8001 (2.9 MiB in ")
    assert daemon.params("stream") == [{"ref": "a.bin", "limit_bytes_per_s": None}]
    assert daemon.params("stream_status") == [{"stream": "s-1", "wait": True}]


def test_a_limit(plan: Plan, start: Start, daemon: Daemon) -> None:
    plan()
    assert finish(start("-q", "download", "a.bin", "-o", "-", "--limit", "2K"))[0] == 0
    assert daemon.params("stream") == [{"ref": "a.bin", "limit_bytes_per_s": 2048}]


def test_into_a_file(plan: Plan, start: Start, place: Path) -> None:
    plan()
    with (place / "out").open("wb") as out:
        assert finish(start("-q", "download", "a.bin", "-o", "-", stdout=out)) == (0, b"", "")
    assert (place / "out").read_bytes() == DATA


def test_an_empty_file(plan: Plan, start: Start) -> None:
    plan(lambda conn: None, size_bytes=0, sent_bytes=0)
    assert finish(start("-q", "download", "a.bin", "-o", "-")) == (0, b"", "")


def test_a_reader_that_has_enough(plan: Plan, start: Start) -> None:
    tap = plan(endless)
    process = start("download", "a.bin", "-o", "-")
    assert process.stdout is not None
    assert process.stdout.read(100) == DATA[:100]
    process.stdout.close()
    process.stdout = None
    assert finish(process) == (141, b"", "")
    assert tap.gone.wait(SECONDS)


def test_a_reader_that_goes_while_nothing_comes(plan: Plan, start: Start) -> None:
    tap = plan(stuck)
    process = start("download", "a.bin", "-o", "-")
    assert process.stdout is not None
    assert process.stdout.read(4) == b"some"
    process.stdout.close()
    process.stdout = None
    assert finish(process) == (141, b"", "")
    assert tap.gone.wait(SECONDS)


def test_a_reader_that_goes_when_it_has_all(plan: Plan, start: Start) -> None:
    """As tar does, which knows where an archive ends: the daemon has not said yet that this was all."""
    gone = threading.Event()

    def serve(conn: socket.socket) -> None:
        conn.sendall(DATA)
        assert gone.wait(SECONDS)
        # The client has been waiting for us, with a pipe that nobody reads.
        assert not select.select([conn], [], [], 0.2)[0]

    plan(serve)
    process = start("-q", "download", "a.bin", "-o", "-")
    assert process.stdout is not None
    assert process.stdout.read(len(DATA)) == DATA
    process.stdout.close()
    process.stdout = None
    gone.set()
    assert finish(process) == (0, b"", "")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("serve", [stuck, endless])
def test_a_signal_stops_it(
    plan: Plan, start: Start, number: int, status: int, serve: Callable[[socket.socket], object]
) -> None:
    tap = plan(serve)
    process = start("download", "a.bin", "-o", "-")
    assert process.stdout is not None
    assert process.stdout.read(1)
    process.send_signal(number)
    code, _, err = finish(process)
    assert code == status
    assert err.startswith("p2pctl: stopped before the end; what was written is the beginning of the file\n")
    assert tap.gone.wait(SECONDS)


def test_a_timeout_while_nothing_comes(plan: Plan, start: Start) -> None:
    plan(stuck)
    code, out, err = finish(start("--json", "download", "a.bin", "-o", "-", "--timeout", "0.5"))
    assert (code, out) == (6, b"some")
    error = json.loads(err)
    assert (error["schema"], error["code"]) == ("p2p.error/1", "timeout")
    assert error["message"].startswith("not done within 0.5 s; stopped before the end")


def test_a_timeout_while_the_reader_does_not_read(plan: Plan, start: Start) -> None:
    tap = plan(endless)
    process = start("download", "a.bin", "-o", "-", "--timeout", "0.5")
    assert tap.gone.wait(SECONDS)  # nobody has read anything
    assert process.wait(SECONDS) == 6


def test_the_daemon_says_what_went_wrong(plan: Plan, start: Start) -> None:
    error = {"code": "integrity", "message": "it lied", "hint": "ask another"}
    plan(lambda conn: conn.sendall(b"begin"), state="failed", sent_bytes=5, error=error)
    code, out, err = finish(start("download", "a.bin", "-o", "-"))
    assert (code, out, err) == (9, b"begin", "p2pctl: it lied\n  hint: ask another\n")


def test_fewer_octets_than_there_are_is_a_failure(plan: Plan, start: Start) -> None:
    plan(lambda conn: conn.sendall(DATA[:-1]))
    code, out, err = finish(start("download", "a.bin", "-o", "-"))
    assert (code, out) == (1, DATA[:-1])
    assert f"after {len(DATA) - 1} octets" in err


def test_a_socket_that_is_gone(plan: Plan, start: Start, daemon: Daemon, place: Path) -> None:
    plan()
    daemon.on["stream"] = item(path=str(place / "missing.sock"))
    code, out, err = finish(start("download", "a.bin", "-o", "-"))
    assert (code, out) == (3, b"")
    assert "the daemon's stream cannot be opened" in err


def test_a_full_disk(plan: Plan, start: Start) -> None:
    plan()
    with open("/dev/full", "wb") as full:
        code, _, err = finish(start("-q", "download", "a.bin", "-o", "-", stdout=full))
    assert code == 10
    assert "No space left" in err


def test_a_terminal_is_refused(daemon: Daemon, start: Start) -> None:
    ours, theirs = pty.openpty()
    try:
        code, _, err = finish(start("download", "a.bin", "-o", "-", stdout=theirs))
    finally:
        os.close(ours)
        os.close(theirs)
    assert code == 2
    assert "standard output is a terminal" in err
    assert daemon.params("stream") == []


@pytest.mark.parametrize(
    "words",
    [["b.bin"], ["--no-wait"], ["--prefix", "x"], ["--exists", "skip"], ["--tsv"]],
    ids=lambda words: words[0],
)
def test_what_has_no_meaning(daemon: Daemon, start: Start, words: list[str]) -> None:
    code, out, _ = finish(start("download", "a.bin", "-o", "-", *words))
    assert (code, out) == (2, b"")
    assert daemon.params("stream") == []


def test_progress_for_programs(plan: Plan, start: Start) -> None:
    def slow(conn: socket.socket) -> None:
        conn.sendall(DATA)
        conn.settimeout(1.2)
        try:
            conn.recv(1)
        except TimeoutError:
            pass

    plan(slow)
    code, out, err = finish(start("-q", "--progress", "json", "download", "a.bin", "-o", "-"))
    assert (code, out) == (0, DATA)
    events = [json.loads(line) for line in err.splitlines()]
    assert {event["schema"] for event in events} == {"p2p.progress/1"}
    assert events[0]["received_bytes"] == len(DATA)
