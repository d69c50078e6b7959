"""Reading a file again and comparing it with its manifest, piece by piece, and putting right what is wrong in place.

The rule: checking never writes. Mending writes pieces that are wrong, and no octet else; only pieces whose hash is right are written, and
the file keeps its modification time, so that it is again what was recorded of it. Memory is one buffer. Synchronous: runs in threads.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from blake3 import blake3

from p2pd.storage.hashing import Cancelled, FileChanged, Stamp, open_shared, stamp_from, stamp_of
from p2pd.storage.root import StorageFailed, storage_error
from protocol.display import safe
from protocol.limits import MIB
from protocol.manifest import Manifest

BUFFER = MIB


def bad_pieces(
    fd: int,
    manifest: Manifest,
    wanted: int | None = None,
    on_progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> int:
    """The pieces (bits) of an open file that do not match, or that the disk cannot read, out of `wanted` (bits; None: all).

    `on_progress(octets read so far)` is called after each piece and `cancelled()` asked each MiB. What the system holds in memory of
    the file is dropped first: it is the disk that is checked. Raises FileChanged when the file has another size, Cancelled, StorageError.
    """
    if os.fstat(fd).st_size != manifest.size:
        raise FileChanged("of another size")
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    buffer = memoryview(bytearray(min(BUFFER, manifest.size)))
    bad = 0
    done = 0
    for piece in range(manifest.count):
        if wanted is not None and not wanted >> piece & 1:
            continue
        if not _matches(fd, manifest, piece, buffer, cancelled):
            bad |= 1 << piece
        done += manifest.piece_length(piece)
        if on_progress is not None:
            on_progress(done)
    return bad


def _matches(
    fd: int, manifest: Manifest, piece: int, buffer: memoryview, cancelled: Callable[[], bool] | None
) -> bool:
    start, length = manifest.piece_offset(piece), manifest.piece_length(piece)
    hasher = blake3()
    for offset in range(start, start + length, BUFFER):
        if cancelled is not None and cancelled():
            raise Cancelled
        view = buffer[: min(BUFFER, start + length - offset)]
        try:
            whole = _read(fd, view, offset)
        except OSError as error:
            if error.errno == errno.EIO:  # a sector that cannot be read: as bad as a wrong one
                return False
            raise storage_error(error, "cannot read the file") from error
        if not whole:
            raise FileChanged("became shorter while it was read")
        hasher.update(view)
    return bool(hasher.digest() == manifest.piece_hash(piece))


def _read(fd: int, view: memoryview, offset: int) -> bool:
    """Fills `view`; False at the end of the file. Raises OSError."""
    done = 0
    while done < len(view):
        got = os.preadv(fd, [view[done:]], offset + done)
        if got == 0:
            return False
        done += got
    return True


def mend(
    path: str,
    stamp: Stamp,
    manifest: Manifest,
    bad: int,
    read: Callable[[int, memoryview], None],
    *,
    again: bool = False,
) -> None:
    """Writes the pieces `bad` (bits) of the file at `path`, taken from `read(offset, view)`, each after its hash was checked, makes them
    durable and gives the file the time of `stamp` back.

    The file must be the one that `stamp` is of. With `again`, after an earlier call was cut short, its time may be another; all pieces but
    `bad` must be right then, which says that nobody else wrote to it. Doing it twice is harmless. Raises FileChanged (nothing was written),
    StorageError.
    """
    found_fd, found = open_shared(path)
    os.close(found_fd)
    if found.identity.inode != stamp.inode or found.size != stamp.size or found.size != manifest.size:
        raise FileChanged("another file")
    try:
        fd = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        raise storage_error(error, f"cannot write {safe(path)}") from error
    try:
        if stamp_from(os.fstat(fd)) != stamp:
            if not again:
                raise FileChanged("written since it was checked")
            others = ((1 << manifest.count) - 1) & ~bad
            if bad_pieces(fd, manifest, others):
                raise FileChanged("written by somebody else")
        _write_pieces(fd, path, manifest, bad, read)
        os.fsync(fd)
        os.utime(fd, ns=(os.fstat(fd).st_atime_ns, stamp.mtime_ns))
        os.fsync(fd)
        if (
            stamp_of(fd) != stamp
        ):  # a file system with coarser times than it had: it is looked at as a changed one
            raise StorageFailed(f"{safe(path)} did not get its time back", "it is hashed again")
    except OSError as error:
        raise storage_error(error, f"cannot mend {safe(path)}") from error
    finally:
        os.close(fd)


def _write_pieces(
    fd: int, path: str, manifest: Manifest, bad: int, read: Callable[[int, memoryview], None]
) -> None:
    buffer = memoryview(bytearray(manifest.piece_size))
    for piece in range(manifest.count):
        if not bad >> piece & 1:
            continue
        view = buffer[: manifest.piece_length(piece)]
        read(manifest.piece_offset(piece), view)
        if blake3(view).digest() != manifest.piece_hash(piece):
            raise StorageFailed(f"what was fetched to mend {safe(path)} cannot be read back")
        offset = manifest.piece_offset(piece)
        while view:
            written = os.pwrite(fd, view, offset)
            view = view[written:]
            offset += written
