"""Reading a shared file: opening it safely, and computing its manifest in one pass.

The rule: a manifest is of one state of a file. Its size, modification time and inode are compared before and
after; what changed meanwhile is FileChanged, not a wrong manifest. Memory is flat: a few reused buffers,
whatever the size of the file. SHA-256 is the slow half, so it has a thread of its own while this one reads
and computes BLAKE3; both release the interpreter's lock. Never writes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from blake3 import blake3

from p2pd.storage.root import StorageFailed, storage_error
from protocol.display import safe
from protocol.errors import Fault
from protocol.limits import MAX_FILE, MIB, TIB
from protocol.manifest import HASH_SIZE, Manifest, piece_count, piece_size_for, zero_hash

BUFFER = MIB  # octets of one read: fits in a core's cache, and costs of a call in Python are small beside it
BUFFERS = 4  # how far BLAKE3 may run ahead of SHA-256

_ZEROS = bytes(BUFFER)
_INODE_MASK = 2**63 - 1  # SQLite's integers are signed


class FileChanged(Exception):
    """The file was written, cut or replaced while it was read."""


class Cancelled(Exception):
    """`cancelled()` said so."""


class FileIdentity(NamedTuple):
    """Which file it is, whatever it holds."""

    inode: int
    device: int


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells, without reading, that a file is as it was. Two are equal when size, time and inode are:
    device numbers change when a machine starts with its drives in another order."""

    size: int
    mtime_ns: int
    inode: int
    device: int = field(compare=False)

    @property
    def identity(self) -> FileIdentity:
        """The inode and device alone."""
        return FileIdentity(self.inode, self.device)


def stamp_of(fd: int) -> Stamp:
    """The stamp of an open file, now. Raises StorageError."""
    try:
        return stamp_from(os.fstat(fd))
    except OSError as error:
        raise storage_error(error, "cannot look at an open file") from error


def stamp_from(status: os.stat_result) -> Stamp:
    """The stamp in a result of stat(2)."""
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ino & _INODE_MASK, status.st_dev & _INODE_MASK)


def open_shared(path: str | os.PathLike[str]) -> tuple[int, Stamp]:
    """Opens a plain file for reading, never following a link in its last component and never waiting (a FIFO
    would). The caller closes it.

    Raises Fault "not_found" (nothing there), "usage" (a directory, a link, a device), StorageError
    (permission, disk).
    """
    path = os.fspath(path)
    shown = safe(path)
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"):
        flags |= getattr(os, name, 0)
    try:
        fd = os.open(path, flags)
    except FileNotFoundError as error:
        raise Fault("not_found", f"{shown} does not exist", hint="check the path") from error
    except NotADirectoryError as error:
        raise Fault("not_found", f"{shown} does not exist: a part of the path is a file") from error
    except PermissionError as error:
        raise StorageFailed(
            f"no permission to read {shown}",
            hint="the daemon's user must be able to read the file and enter its directories",
        ) from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):  # EMLINK: FreeBSD
            raise Fault(
                "usage", f"{shown} is a symbolic link", hint="share the file that it points to"
            ) from error
        if error.errno == errno.ENXIO:
            raise _not_plain(shown, "socket or device") from error
        raise storage_error(error, f"cannot open {shown}") from error
    try:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            raise Fault(
                "usage",
                f"{shown} is a folder",
                hint="a folder is shared with -r: p2pctl add -r FOLDER",
            )
        if not stat.S_ISREG(status.st_mode):
            raise _not_plain(shown, "device, FIFO or socket")
        if status.st_size > MAX_FILE:
            raise Fault("usage", f"{shown} is larger than {MAX_FILE // TIB} TiB", hint="split it")
    except BaseException:
        os.close(fd)
        raise
    return fd, stamp_from(status)


def _not_plain(shown: str, kind: str) -> Fault:
    return Fault("usage", f"{shown} is a {kind}", hint="only plain files can be shared")


def data_extents(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """The (start, end) of each stretch of a file that is not a hole; all of it where the system cannot tell.
    May name holes as data, never the reverse. Moves the file offset."""
    if not hasattr(os, "SEEK_DATA"):
        if size:
            yield 0, size
        return
    position = 0
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
            end = os.lseek(fd, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:  # ENXIO: no data from here to the end
                yield position, size
            return
        if start >= size:
            return
        yield start, min(end, size)
        position = end


def hash_file(
    source: int | str | os.PathLike[str],
    size: int | None = None,
    on_progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Manifest:
    """The manifest of a file, given by path or by a descriptor that stays open.

    `size` is what the caller believes it to be. `on_progress(octets so far)` is called after each MiB, holes
    included, and `cancelled()` asked as often, both in this thread. Raises FileChanged, Cancelled, and what
    open_shared raises.
    """
    if isinstance(source, int):
        return _hash_open(source, size, on_progress, cancelled)
    fd, _ = open_shared(source)
    try:
        return _hash_open(fd, size, on_progress, cancelled)
    finally:
        os.close(fd)


def _hash_open(
    fd: int, size: int | None, on_progress: Callable[[int], None] | None, cancelled: Callable[[], bool] | None
) -> Manifest:
    before = stamp_of(fd)
    if size is not None and before.size != size:
        raise FileChanged(f"{before.size} octets instead of {size}")
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    run = _Run(fd, before.size, on_progress, cancelled)
    if before.size <= BUFFER:  # a thread costs more than such a file
        manifest = run.hash(_Inline())
    else:
        with ThreadPoolExecutor(1, thread_name_prefix="sha256") as pool:
            manifest = run.hash(pool)
    if stamp_of(fd) != before:
        raise FileChanged("written while it was read")
    return manifest


class _Executor(Protocol):
    def submit(self, function: Callable[[memoryview], None], data: memoryview, /) -> Future[None]: ...


class _Inline:
    """An executor for what is not worth a thread."""

    def submit(self, function: Callable[[memoryview], None], data: memoryview, /) -> Future[None]:
        function(data)
        done: Future[None] = Future()
        done.set_result(None)
        return done


class _Run:
    """One pass over one open file."""

    def __init__(
        self,
        fd: int,
        size: int,
        on_progress: Callable[[int], None] | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self._fd = fd
        self._size = size
        self._on_progress = on_progress
        self._cancelled = cancelled
        self._whole = hashlib.sha256()
        used = max(1, min(BUFFERS, -(-size // BUFFER)))
        self._buffers = [memoryview(bytearray(min(size, BUFFER))) for _ in range(used)]
        self._pending: list[Future[None] | None] = [None] * used
        self._turn = 0

    def hash(self, executor: _Executor) -> Manifest:
        piece_size = piece_size_for(self._size)
        pieces = bytearray()
        holes = _Holes(self._fd, self._size)
        for index in range(piece_count(self._size)):
            start = index * piece_size
            end = min(start + piece_size, self._size)
            if holes.covers(start, end):
                pieces += self._zeros(executor, start, end)
            else:
                pieces += self._data(executor, start, end)
        for future in self._pending:
            if future is not None:
                future.result()
        assert len(pieces) == HASH_SIZE * piece_count(self._size)
        return Manifest(self._size, piece_size, self._whole.digest(), bytes(pieces))

    def _data(self, executor: _Executor, start: int, end: int) -> bytes:
        hasher = blake3()
        for offset in range(start, end, BUFFER):
            view = self._buffer()[: min(BUFFER, end - offset)]
            self._read(view, offset)
            self._hand_over(executor, view)
            hasher.update(view)  # while the other thread is at the same octets, still in the cache
            self._step(offset + len(view))
        return bytes(hasher.digest())

    def _zeros(self, executor: _Executor, start: int, end: int) -> bytes:
        """A hole: nothing to read, a known BLAKE3, but SHA-256 has no short cut."""
        for offset in range(start, end, BUFFER):
            length = min(BUFFER, end - offset)
            self._buffer()  # wait for our turn, so that the queue stays short
            self._hand_over(executor, memoryview(_ZEROS)[:length])
            self._step(offset + length)
        return zero_hash(end - start)

    def _buffer(self) -> memoryview:
        """The next buffer, when SHA-256 has done with it."""
        future = self._pending[self._turn]
        if future is not None:
            future.result()
        return self._buffers[self._turn]

    def _hand_over(self, executor: _Executor, data: memoryview) -> None:
        self._pending[self._turn] = executor.submit(self._whole.update, data)
        self._turn = (self._turn + 1) % len(self._buffers)

    def _read(self, view: memoryview, offset: int) -> None:
        done = 0
        while done < len(view):
            try:
                got = os.preadv(self._fd, [view[done:]], offset + done)
            except OSError as error:
                raise storage_error(error, "cannot read the file") from error
            if got == 0:
                raise FileChanged("became shorter while it was read")
            done += got

    def _step(self, done: int) -> None:
        if self._cancelled is not None and self._cancelled():
            raise Cancelled
        if self._on_progress is not None:
            self._on_progress(done)


class _Holes:
    """Answers, for stretches in ascending order, whether they are holes throughout."""

    def __init__(self, fd: int, size: int) -> None:
        status = os.fstat(fd)
        # Only a file with fewer blocks than octets can have holes: the others are not asked, which is
        # quicker, and keeps us clear of file systems that misreport data just written.
        sparse = getattr(status, "st_blocks", size) * 512 < size
        self._extents = data_extents(fd, size) if sparse else iter([(0, size)])
        self._start, self._end = next(self._extents, (size, size))

    def covers(self, start: int, end: int) -> bool:
        while self._end <= start and self._start < self._end:
            self._start, self._end = next(self._extents, (end, end))
        return self._start >= end or self._end <= start
