"""A terminal for the tests: a program on a pseudo-terminal, typed at, and the screen it draws.

The rule: every wait has a deadline, what was expected is passed, and a program that still runs at the end is killed.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyte

SECONDS = 20.0
CTRL_C, CTRL_D, TAB, UP = "\x03", "\x04", "\t", "\x1b[A"
COLUMNS, ROWS = 250, 300  # so long that nothing is scrolled away


class Terminal:
    """`words` run with stdin, stdout and stderr on a terminal of their own. A context manager."""

    def __init__(self, words: Sequence[str], environ: Mapping[str, str], cwd: Path) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

        def control() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C is a signal for it

        self.process = subprocess.Popen(
            words,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={"TERM": "xterm", **environ},
            cwd=cwd,
            start_new_session=True,
            preexec_fn=control,
        )
        os.close(theirs)
        self.raw = b""
        """Every octet that came."""
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._at = 0
        self._modes = termios.tcgetattr(self._ours)[:4]

    def type(self, text: str) -> None:
        """Keys."""
        os.write(self._ours, text.encode())

    def line(self, text: str) -> None:
        """Keys and Enter."""
        self.type(text + "\r")

    @property
    def seen(self) -> str:
        """The screen: its lines without the blanks at their ends."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip() + "\n"

    def expect(self, text: str, seconds: float = SECONDS, *, passing: bool = True) -> str:
        """Reads until `text` stands after what was expected before; what stands up to its end. With `passing` false it is expected again:
        for what will be drawn over."""
        deadline = time.monotonic() + seconds
        while (found := self.seen.find(text, self._at)) < 0:
            assert self._read(deadline - time.monotonic()), f"no {text!r} in:\n{self.seen[self._at :]}"
        passed = self.seen[self._at : found + len(text)]
        if passing:
            self._at = found + len(text)
        return passed

    def end(self, seconds: float = SECONDS) -> int:
        """Waits for the end; the exit status."""
        deadline = time.monotonic() + seconds
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, seconds: float) -> bool:
        if seconds <= 0 or not select.select([self._ours], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # Linux: EIO once the last process has closed its side
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    @property
    def restored(self) -> bool:
        """Whether the terminal is as the program found it."""
        return termios.tcgetattr(self._ours)[:4] == self._modes

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)
