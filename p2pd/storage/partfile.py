"""One download on disk, from its first octet to its name.

The rule: a piece counts as held only when it was read or hashed right and made durable (`sync`), and the file
gets its name only when all of it is on the disk; so a kill at any moment loses no committed piece and never
shows an unfinished file under a finished name. A failed sync is final: the kernel has forgotten what it could
not write, so nothing is believed before it was read again. What the bitfield says is kept by
p2pd/storage/state_downloads.py; this file knows only octets.

    part = PartFile.create(root, part_name_for("t-3", content_id), manifest)
    part.write(offset, data); part.verify(piece); part.sync()      # then commit the bitfield
    path = part.finish("report.pdf", "rename")
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from blake3 import blake3

from p2pd.storage.hashing import Cancelled, FileIdentity, data_extents, stamp_from
from p2pd.storage.root import (
    Root,
    StorageError,
    StorageFailed,
    StorageMissing,
    numbered,
    storage_error,
)
from p2pd.storage.unbuffered import Unbuffered, Write
from protocol.bitfield import Bitfield
from protocol.errors import Fault, LocalProtocolError
from protocol.limits import MIB
from protocol.manifest import Manifest
from protocol.names import PART_SUFFIX

POLICIES = frozenset({"fail", "skip", "rename", "overwrite"})
MAX_RENAMES = 10_000  # names tried under the policy "rename"
_BUFFER = MIB


class PartGone(StorageMissing):
    """The directory is there, on the same drive, but the unfinished file is not: start again from nothing."""


def part_name_for(transfer_id: str, content_id: bytes) -> str:
    """The name of an unfinished download: hidden, short whatever the target's name, never acceptable as the
    name of a shared file."""
    return f".{transfer_id}-{content_id[:4].hex()}{PART_SUFFIX}"


class PartFile:
    """An unfinished download. Any thread may call any method; `close` takes effect when the calls under way
    have returned.

    All methods raise StorageError subclasses for what the disk refuses, and LocalProtocolError after `close`.
    """

    def __init__(self, root: Root, name: str, manifest: Manifest, fd: int, write: Write) -> None:
        """Takes over `fd`. Use `create` or `reopen`."""
        self.root = root
        self.name = name
        self.manifest = manifest
        self._fd = fd
        self._write = write
        self._unbuffered = Unbuffered(root, name, fd, manifest.size, write)
        self._lock = threading.Lock()
        self._users = 0
        self._closing = False
        self._entry_durable = False
        self._sync_failed = False
        self._buffer: bytearray | None = None
        self._buffer_lock = threading.Lock()

    # -- beginning and end --------------------------------------------------------------------------------

    @classmethod
    def create(cls, root: Root, part_name: str, manifest: Manifest, *, write: Write = os.pwrite) -> PartFile:
        """A new file of the full size without a block of data: pieces of zeros (`manifest.zero_pieces()`) are
        held already.

        Raises Fault "exists" when the name is taken, StorageFailed when the file system cannot hold such a
        size.
        """
        fd = root.open_part(part_name)
        try:
            os.ftruncate(fd, manifest.size)
        except OSError as error:
            os.close(fd)
            root.unlink(part_name)
            raise storage_error(error, f"cannot create {root.shown(part_name)}") from error
        return cls(root, part_name, manifest, fd, write)

    @classmethod
    def reopen(
        cls,
        root: Root,
        part_name: str,
        manifest: Manifest,
        recorded: FileIdentity | None,
        *,
        recheck: bool = False,
        write: Write = os.pwrite,
    ) -> tuple[PartFile, bool]:
        """The file, and whether the committed pieces may be trusted: True when it is the recorded file and
        has its size.

        When False, `verify` each committed piece before it is counted. `recheck` makes it False and drops
        cached pages, so that verifying reads the disk: for use after a failed sync. Raises PartGone,
        StorageMissing (also when another drive is mounted there), StorageFailed.
        """
        try:
            fd = root.reopen_part(part_name)
        except StorageMissing as error:
            if recorded is None or recorded.device == root.device:
                raise PartGone(
                    f"{root.shown(part_name)} is gone", "it starts again from nothing", error.details
                ) from error
            raise
        try:
            stamp = stamp_from(os.fstat(fd))
            trusted = not recheck and recorded is not None and stamp.inode == recorded.inode
            if stamp.size != manifest.size:
                trusted = False
                os.ftruncate(fd, manifest.size)
            if not trusted and hasattr(os, "posix_fadvise"):
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            os.close(fd)
            raise storage_error(error, f"cannot open {root.shown(part_name)}") from error
        return cls(root, part_name, manifest, fd, write), trusted

    def close(self) -> None:
        """Lets the descriptor go; the file stays for `reopen`. May be called twice."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            last = self._users == 0
        if last:
            self._close_all()

    def _close_all(self) -> None:
        self._unbuffered.close()
        os.close(self._fd)

    def duplicate(self) -> int:
        """A descriptor of its own for whoever reads on when this is closed, or the file got its name."""
        with self._open() as fd:
            return os.dup(fd)

    def discard(self) -> None:
        """Closes and removes the file: the download was cancelled."""
        self.close()
        self.root.unlink(self.name)

    def __enter__(self) -> PartFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def _open(self) -> Iterator[int]:
        """The descriptor, which is not closed before the body ends: a number that was closed may already be
        another file's."""
        with self._lock:
            if self._closing:
                raise LocalProtocolError("the part file is closed")
            self._users += 1
        try:
            yield self._fd
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._closing and self._users == 0
        if last:
            self._close_all()

    @property
    def identity(self) -> FileIdentity:
        """What to record, to know the file again at `reopen`."""
        with self._open() as fd:
            return stamp_from(os.fstat(fd)).identity

    @property
    def mtime_ns(self) -> int:
        """When it was last written to, as the file system says."""
        with self._open() as fd:
            return os.fstat(fd).st_mtime_ns

    # -- octets -------------------------------------------------------------------------------------------

    def _within(self, offset: int, length: int) -> None:
        if offset < 0 or offset + length > self.manifest.size:
            raise LocalProtocolError(f"octets {offset}+{length} of a file of {self.manifest.size}")

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Puts all of `data` at `offset`; short writes are continued. Not durable before `sync`. Raises
        DiskFull, StorageMissing, StorageFailed."""
        view = memoryview(data)
        self._within(offset, len(view))
        with self._open() as fd:
            while view:
                try:
                    written = self._unbuffered.write(offset, view) or self._write(fd, view, offset)
                except OSError as error:
                    raise storage_error(error, f"cannot write {self._shown}") from error
                if written <= 0:
                    raise StorageFailed(f"cannot write {self._shown}: nothing was written")
                view = view[written:]
                offset += written

    def read_into(self, offset: int, out: memoryview) -> None:
        """Fills `out` from `offset`."""
        self._within(offset, len(out))
        with self._open() as fd:
            done = 0
            while done < len(out):
                try:
                    got = os.preadv(fd, [out[done:]], offset + done)
                except OSError as error:
                    raise storage_error(error, f"cannot read {self._shown}") from error
                if got == 0:
                    raise StorageFailed(f"{self._shown} became shorter", "something else writes to it")
                done += got

    def verify(self, piece: int) -> bool:
        """Reads a piece back and compares its BLAKE3."""
        start, length = self.manifest.piece_offset(piece), self.manifest.piece_length(piece)
        hasher = blake3()
        with self._buffer_lock:
            if self._buffer is None:
                self._buffer = bytearray(min(_BUFFER, self.manifest.size))
            whole = memoryview(self._buffer)
            for offset in range(start, start + length, _BUFFER):
                view = whole[: min(_BUFFER, start + length - offset)]
                self.read_into(offset, view)
                hasher.update(view)
        return bool(hasher.digest() == self.manifest.piece_hash(piece))

    def data_extents(self) -> list[tuple[int, int]]:
        """The (start, end) of what was written so far, as the file system tells: may be more, never less."""
        with self._open() as fd:
            return list(data_extents(fd, self.manifest.size))

    def recover(self, committed: Bitfield, cancelled: Callable[[], bool] | None = None) -> Bitfield:
        """The pieces that are good on the disk though not committed, as after a kill: they need not be
        fetched again.

        Reads only uncommitted pieces with data in them; those of zeros in a hole are good unread. `sync`
        before committing the result. Raises Cancelled.
        """
        found = Bitfield(self.manifest.count)
        size = self.manifest.piece_size
        touched = Bitfield(self.manifest.count)
        for start, end in self.data_extents():
            for piece in range(start // size, -(-end // size)):
                touched.add(piece)
        for piece in self.manifest.zero_pieces():
            if piece not in touched and piece not in committed:
                found.add(piece)
        for piece in touched - committed:
            if cancelled is not None and cancelled():
                raise Cancelled
            if self.verify(piece):
                found.add(piece)
        return found

    # -- durability ---------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Everything written before this call is on the disk after it. Raises StorageFailed once and for all
        when the disk could not: close, `reopen` with `recheck`, and verify."""
        self._sync(getattr(os, "fdatasync", os.fsync))
        if not self._entry_durable:
            self.root.fsync_dir()
            self._entry_durable = True

    def _sync(self, function: Callable[[int], None]) -> None:
        if self._sync_failed:
            raise StorageFailed(f"{self._shown} could not be synced before", "it is verified from the disk")
        with self._open() as fd:
            try:
                function(fd)
            except OSError as error:
                self._sync_failed = True
                raise _final(storage_error(error, f"cannot sync {self._shown}")) from error
            if os.fstat(fd).st_nlink == 0:
                raise PartGone(f"{self._shown} was removed", "it starts again from nothing")

    def finish(self, target_name: str, policy: str = "fail", from_user: bool = False) -> str:
        """Gives the complete file its name and closes it; the final path. The caller has verified every
        piece.

        `policy` is what to do with a file of that name: "rename" takes the next free `name (n)`, "overwrite"
        replaces it, "fail" and "skip" raise Fault "exists" and leave this file as it is. `from_user` says
        that the name was typed by the user (any component) and did not come from the network (BadName for
        what protocol/names.py rejects).
        """
        if policy not in POLICIES:
            raise LocalProtocolError(f"unknown policy {policy!r}")
        self._sync(os.fsync)
        final = self._rename(target_name, policy, from_user)
        self.root.fsync_dir()
        self.close()
        return os.path.join(self.root.path, final)

    def _rename(self, target: str, policy: str, from_user: bool) -> str:
        if policy == "overwrite":
            self.root.replace(self.name, target, from_user)
            return target
        for number in range(MAX_RENAMES if policy == "rename" else 1):
            name = numbered(target, number)
            try:
                self.root.rename_noreplace(self.name, name, from_user)
                return name
            except Fault as fault:
                if fault.code != "exists" or policy != "rename":
                    raise
        raise Fault("exists", f"{self.root.shown(target)} and {MAX_RENAMES} names like it exist already")

    @property
    def _shown(self) -> str:
        return self.root.shown(self.name)


def find_finished(root: Root, target_name: str, size: int, recorded: FileIdentity | None) -> str | None:
    """The path of a download that got its name just before a kill, so that its part file is gone and the
    database does not know; else None.

    It is the file with the recorded inode under the target's name or one that the policy "rename" gives.
    """
    if recorded is None:
        return None
    for number in range(MAX_RENAMES):
        name = numbered(target_name, number)
        status = root.stat(name)
        if status is None:
            return None
        if stamp_from(status).inode == recorded.inode and status.st_size == size:
            return os.path.join(root.path, name)
    return None


def _final(error: StorageError) -> StorageError:
    """A failed sync keeps its class when space or a drive can come back, but says that the file must be
    verified."""
    error.details["verify"] = True
    return error
