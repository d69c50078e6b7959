"""The log in files of its own: one that grows, and some older ones, `p2pd.log.1` the newest of these.

The rule: private (0600, its user's own), bounded (`count` older files of `size` octets), and never a reason to stop: a disk that
refuses costs lines, which are counted and told when it takes them again. The caller serialises calls.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from protocol.display import safe
from protocol.errors import Fault


class LogFile:
    """An open log file. Raises Fault storage when it cannot be opened."""

    def __init__(self, path: Path, size: int, count: int) -> None:
        self.path = path
        self._size, self._count = size, count
        self._lost = 0
        self._fd = -1
        try:
            self._open()
        except OSError as error:
            hint = "choose another place with the setting log.file"
            raise Fault(
                "storage", f"cannot open the log file {safe(str(path))}: {error.strerror}", hint
            ) from error

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(self.path, flags, 0o600)
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) and status.st_uid != os.geteuid():
            os.close(fd)
            raise PermissionError(errno.EPERM, "it belongs to another user")
        self._fd, self._written = fd, status.st_size

    def write(self, text: str) -> None:
        """One line or several, each with its end. Raises nothing."""
        octets = text.encode("utf-8", "backslashreplace")
        try:
            if self._fd < 0 or (self._written and self._written + len(octets) > self._size):
                self._turn()
            if self._lost:
                octets = f"... {self._lost} lines could not be written here\n".encode() + octets
            self._written += os.write(self._fd, octets)
            self._lost = 0
        except OSError:
            self._lost += 1

    def _turn(self) -> None:
        """The full file becomes the newest of the older ones."""
        self.close()
        with suppress(FileNotFoundError):
            for number in range(self._count, 0, -1):
                older = self._older(number - 1) if number > 1 else self.path
                with suppress(FileNotFoundError):
                    older.replace(self._older(number))
            if not self._count:
                self.path.unlink()
        self._open()

    def _older(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def close(self) -> None:
        """No more lines."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
