"""One program of the user's, run from beginning to end. Synchronous; for a thread of its own.

The rule: no shell; a document on stdin; what it prints is read to the end and kept only up to a bound, so it is never held up by us; it and
all that it started in its process group are killed when its time is over. Knows nothing of hooks.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KEPT_OCTETS = 16 * 1024  # of what it prints
LOOK_SECONDS = 0.05  # between two looks whether it ended, or should
GRACE_SECONDS = 1.0  # from SIGTERM to SIGKILL
LAST_WORDS_SECONDS = 0.2  # for output that is still in the pipe when it has ended


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: `exit` is None when a signal ended it or it never ran, `reason` is empty when all is well."""

    exit: int | None
    duration_s: float
    output: bytes
    left_out: int
    """Octets of output that were not kept."""
    reason: str


def run(
    argv: Sequence[str],
    document: bytes,
    directory: Path,
    environ: Mapping[str, str],
    seconds: float,
    stop: threading.Event,
    started: Callable[[int], object],
) -> Outcome:
    """All of it; `started(pid)` is called when it runs, `stop` ends it early. Raises nothing."""
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=dict(environ),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return Outcome(None, 0.0, b"", 0, f"it cannot be run: {error}")
    started(process.pid)
    pipes = _Pipes(process, document)
    try:
        reason = ""
        while process.poll() is None and not reason:
            pipes.serve(LOOK_SECONDS)
            if stop.is_set():
                reason = "killed: p2pd stops"
            elif time.monotonic() - began >= seconds:
                reason = f"killed: it took more than {seconds:g} s"
        if reason:
            _kill(process, pipes)
        status = process.wait()
        pipes.rest()
    finally:
        pipes.close()
    took = round(time.monotonic() - began, 3)
    if not reason and status:
        reason = f"ended by signal {-status}" if status < 0 else f"exit status {status}"
    return Outcome(status if status >= 0 else None, took, bytes(pipes.kept), pipes.left_out, reason)


def _kill(process: subprocess.Popen[bytes], pipes: _Pipes) -> None:
    """Asks its group to end, then ends it."""
    for number, patience in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, 60.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        # Others of its group may outlive it: they get the second signal all the same.
        until = time.monotonic() + patience
        while process.poll() is None and time.monotonic() < until:
            pipes.serve(LOOK_SECONDS)


class _Pipes:
    """Feeds its stdin and reads its output."""

    def __init__(self, process: subprocess.Popen[bytes], document: bytes) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self.kept = bytearray()
        self.left_out = 0
        self._stdin, self._stdout = process.stdin, process.stdout
        self._rest = memoryview(document)
        self._selector = selectors.DefaultSelector()
        for stream, event in ((self._stdin, selectors.EVENT_WRITE), (self._stdout, selectors.EVENT_READ)):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, event)

    def serve(self, seconds: float) -> None:
        """Moves what can be moved within so many seconds."""
        if not self._selector.get_map():  # it closed both ends
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
            return
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._stdin:
                self._write()
            else:
                self._read()

    def rest(self) -> None:
        """What it printed last. Whoever else holds the pipe open is not waited for."""
        until = time.monotonic() + LAST_WORDS_SECONDS
        while self._reads and time.monotonic() < until:
            if not self._read():
                return

    @property
    def _reads(self) -> bool:
        return not self._stdout.closed

    def _write(self) -> None:
        try:
            self._rest = self._rest[os.write(self._stdin.fileno(), self._rest) :]
        except BlockingIOError:
            return
        except OSError:
            self._rest = self._rest[:0]  # it does not want to read
        if not self._rest:
            self._end(self._stdin)

    def _read(self) -> bool:
        """False when there is nothing (more)."""
        try:
            data = os.read(self._stdout.fileno(), 65536)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._end(self._stdout)
            return False
        room = max(0, KEPT_OCTETS - len(self.kept))
        self.kept += data[:room]
        self.left_out += len(data) - min(room, len(data))
        return True

    def _end(self, stream: object) -> None:
        self._selector.unregister(stream)  # type: ignore[arg-type]
        stream.close()  # type: ignore[attr-defined]

    def close(self) -> None:
        """Lets go of both ends."""
        for key in list(self._selector.get_map().values()):
            self._end(key.fileobj)
        self._selector.close()
