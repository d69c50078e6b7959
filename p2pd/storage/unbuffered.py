"""Writing blocks past the page cache, where file system and alignment allow it.

Why: copying a block into the page cache costs the receiver a fifth of a millisecond for 1 MiB, several times that into pages that the
kernel (or the host of a virtual machine) has to find first, and throws out what others had there; the octets are on their way to the
disk anyway, since a piece counts only when it is durable (docs/decisions/0007-unbuffered-writes.md). What cannot go this way is written
as usual, and both ways may be mixed: the kernel keeps them coherent.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable

from p2pd.storage.root import Root

ALIGNMENT = 4096  # octets, of memory, offset and length: at least the logical block of any usual disk
LEAST_WRITE = 256 * 1024  # a small write waits for the disk longer than its copy costs
LEAST_FILE = 64 * 1024 * 1024  # a smaller file stays in the page cache, where its reader will look for it

Write = Callable[[int, bytes | memoryview, int], int]
"""os.pwrite, or a test's version of it: (descriptor, data, offset) -> octets written."""

_REFUSED = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP})


class Unbuffered:
    """A second descriptor of one file, for large aligned writes. Any thread; the caller keeps `close` away from writes under way."""

    def __init__(self, root: Root, name: str, fd: int, size: int, write: Write) -> None:
        self._fd = root.open_direct(name, fd) if size >= LEAST_FILE else -1
        self._usable = self._fd >= 0
        self._write = write

    @property
    def usable(self) -> bool:
        """False where it was never possible, or was refused."""
        return self._usable

    def write(self, offset: int, view: memoryview) -> int:
        """Writes the beginning of `view`, as os.pwrite does; 0 when it has to go the usual way. Raises OSError."""
        if not self._usable or len(view) < LEAST_WRITE or not _aligned(offset, view):
            return 0
        try:
            return self._write(self._fd, view, offset)
        except OSError as error:
            if error.errno in _REFUSED:
                self._usable = False  # this file system promised more at opening than it does
                return 0
            raise

    def close(self) -> None:
        """May be called twice."""
        self._usable = False
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _aligned(offset: int, view: memoryview) -> bool:
    if offset % ALIGNMENT or len(view) % ALIGNMENT or view.readonly:
        return False
    return ctypes.addressof(ctypes.c_char.from_buffer(view)) % ALIGNMENT == 0
