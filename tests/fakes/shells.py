"""Real shells in a pseudo-terminal: keys in, what they print out.

The rule: every wait has a deadline, and the shell is ended with its terminal.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from fcntl import ioctl
from pathlib import Path

SECONDS = 20.0

COMMANDS = {
    "bash": ("bash", "--noprofile", "--norc", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "--no-config", "-i"),
}


class Shell:
    """A program in a terminal of 100 columns. Use as a context manager."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        self.output = b""
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            try:
                os.execvpe(argv[0], list(argv), dict(environ))
            finally:
                os._exit(127)
        ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._fd)

    def send(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def expect(self, text: str, seconds: float = SECONDS) -> str:
        """Everything up to and with `text`, which is taken away. Fails when it does not come."""
        deadline = time.monotonic() + seconds
        wanted = text.encode()
        while wanted not in self.output:
            left = deadline - time.monotonic()
            assert left > 0, f"not within {seconds:g} s: {text!r}; there is {self.output!r}"
            if select.select([self._fd], [], [], left)[0]:
                try:
                    self.output += os.read(self._fd, 1 << 16)
                except OSError as end:
                    raise AssertionError(f"the shell ended before {text!r}: {self.output!r}") from end
        before, _, self.output = self.output.partition(wanted)
        return (before + wanted).decode("utf-8", "replace")


def spy(directory: Path) -> Path:
    """A directory for PATH whose p2pctl completes as the real one, however busy the machine, and otherwise prints its
    arguments, each in <>."""
    directory.mkdir()
    program = directory / "p2pctl"
    program.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = completion ]; then exec {sys.executable} -m p2pctl --timeout 20 "$@"; fi\n'
        "for word; do printf '<%s>' \"$word\"; done\n"
        "echo .\n"
    )
    program.chmod(0o755)
    return directory
