"""What was typed in the shell, kept over runs: a text file, one line each, oldest first.

The rule: only its owner reads it, it never grows without bound, and a history that cannot be read or written is no reason to fail. Knows no
terminal.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

KEEP = 1000  # lines that a start leaves in the file
MAX_LINE = 4096  # characters; a longer line is not kept
MAX_OCTETS = 4 << 20  # read of the end of the file


def place(environ: Mapping[str, str]) -> str:
    """`$P2PCTL_HISTORY` ("" for none), else shell_history in the state directory."""
    named = environ.get("P2PCTL_HISTORY")
    if named is not None:
        return named
    base = environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(base, "p2pd", "shell_history")


class History:
    """The lines of `path`; "" keeps nothing."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._last = ""
        self.trouble = ""
        """Why nothing is kept, once that was found."""

    def load(self) -> list[str]:
        """Oldest first, at most KEEP; the file is cut to these."""
        if not self._path:
            return []
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        except OSError as error:
            self._failed(error)
            return []
        with os.fdopen(fd, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(0, size - MAX_OCTETS))
            data = stream.read(MAX_OCTETS)
        lines = data.decode("utf-8", "surrogateescape").split("\n")[:-1]
        if size > MAX_OCTETS:
            del lines[0]  # begins somewhere inside
        kept = [line for line in lines[-KEEP:] if line]
        if len(lines) > KEEP or size > MAX_OCTETS:
            self._replace(kept)
        self._last = kept[-1] if kept else ""
        return kept

    def append(self, line: str) -> None:
        """Keep a line, unless it is the one before, begins with a blank, or is no line of text."""
        if not self._path or line == self._last or line[:1].isspace() or not line:
            return
        if "\n" in line or len(line) > MAX_LINE:
            return
        self._last = line
        try:
            os.makedirs(os.path.dirname(self._path) or ".", mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(self._path, flags, 0o600)
            with os.fdopen(fd, "wb", buffering=0) as stream:
                os.fchmod(fd, 0o600)
                stream.write(
                    line.encode("utf-8", "surrogateescape") + b"\n"
                )  # one write: shells side by side
        except OSError as error:
            self._failed(error)

    def _replace(self, lines: list[str]) -> None:
        temporary = f"{self._path}.{os.getpid()}"
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as stream:
                stream.write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
            os.replace(temporary, self._path)
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        self.trouble = f"what is typed is not kept in {self._path}: {error.strerror}"
        self._path = ""
