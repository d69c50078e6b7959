"""Terminals for tests: what a person would see of what was written, by a terminal emulator (pyte).

The rule: tests look at the screen, never at the sequences that made it.
"""

from __future__ import annotations

import fcntl
import io
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence

import pyte


class _Sink(io.BytesIO):
    """Octets go to the emulator, with the line discipline's carriage return."""

    def __init__(self, stream: pyte.ByteStream) -> None:
        super().__init__()
        self._stream = stream
        self.raw = b""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.raw += bytes(data)
        self._stream.feed(bytes(data).replace(b"\n", b"\r\n"))
        return len(data)


class FakeTerminal(io.TextIOWrapper):
    """A stdout or stderr of this process that is a terminal."""

    def __init__(self, columns: int = 80, lines: int = 24) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.sink = _Sink(pyte.ByteStream(self.screen))
        super().__init__(self.sink, encoding="utf-8")

    def isatty(self) -> bool:
        return True

    def size(self) -> tuple[int, int]:
        """As p2pctl/screen.py wants it."""
        return self.screen.columns, self.screen.lines

    @property
    def rows(self) -> list[str]:
        """What stands on the screen, without blanks at the ends of lines and without empty lines below."""
        self.flush()
        return shown(self.screen)

    @property
    def text(self) -> str:
        """Everything that was written."""
        self.flush()
        return self.sink.raw.decode()


def shown(screen: pyte.Screen) -> list[str]:
    """The lines of a screen."""
    rows = [row.rstrip() for row in screen.display]
    while rows and not rows[-1]:
        rows.pop()
    return rows


def drawn(ours: int) -> bytes:
    """All that a terminal gets until the last process has closed its side. It comes in pieces, whatever writes it."""
    octets = b""
    try:
        while piece := os.read(ours, 65536):
            octets += piece
    except OSError:
        pass  # Linux: EIO at the end
    return octets


class Pty:
    """A process whose stdout, stderr and stdin are a terminal of this size."""

    def __init__(self, argv: Sequence[str], environ: dict[str, str], columns: int, lines: int) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._ours, theirs = os.openpty()
        self.resize(columns, lines)
        self.process = subprocess.Popen(
            argv,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environ,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        )
        os.close(theirs)

    def resize(self, columns: int, lines: int) -> None:
        """As a window does; the process gets SIGWINCH."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def type(self, octets: bytes) -> None:
        """Keys."""
        os.write(self._ours, octets)

    def until(self, what: Callable[[list[str]], object], seconds: float = 30.0) -> list[str]:
        """The screen once it is like this. Fails when it is not in time."""
        deadline = time.monotonic() + seconds
        while not what(rows := shown(self.screen)):
            left = deadline - time.monotonic()
            assert left > 0, "\n".join(["never seen:", *rows])
            if select.select([self._ours], [], [], left)[0] and not self._read():
                rows = shown(self.screen)
                assert what(rows), "\n".join(["it ended:", *rows])
        return rows

    def end(self, seconds: float = 30.0) -> tuple[int, list[str]]:
        """The exit status, and what stands on the screen then."""
        deadline = time.monotonic() + seconds
        while select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
            if not self._read():
                break
        return self.process.wait(max(0.1, deadline - time.monotonic())), shown(self.screen)

    def _read(self) -> bool:
        try:
            data = os.read(self._ours, 65536)
        except OSError:
            return False  # Linux: EIO once the last process has closed its side
        self._stream.feed(data)
        return bool(data)

    def close(self) -> None:
        """Nothing is left."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)
