"""A folder being downloaded, from its first file to its name.

The rule: everything is written below one directory of ours, hidden and named so that no finished thing may be called so, by
walking from its descriptor without following links; a file gets there whole and verified. The tree gets its name only when
all of it is on the disk, in one step, or file by file where the user said that it may go into a folder that is there. What
is fetched, and from whom, is not its business.

    .t-3-0011aabb-94efc594.p2pd-part/     the staging directory
        tree/...                          what will get the name
        f-17, .t-4-...p2pd-part           single large files under way
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from p2pd.storage.hashing import FileIdentity, Stamp, stamp_from
from p2pd.storage.root import (
    Root,
    StorageFailed,
    StorageMissing,
    move_noreplace,
    numbered,
    storage_error,
)
from protocol.collection import Collection
from protocol.display import safe
from protocol.errors import Fault, LocalProtocolError
from protocol.names import check_name, check_path

TREE = "tree"
MAX_RENAMES = 10_000  # names tried under the policy "rename"
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Staging:
    """See the module. One thread at a time. Methods raise StorageError subclasses for what the disk refuses."""

    def __init__(self, root: Root, name: str, fd: int, tree: Branches) -> None:
        """Use `create` or `reopen`."""
        self.root = root
        self.name = name
        self.tree = tree
        self._fd = fd

    @classmethod
    def create(cls, root: Root, name: str) -> Staging:
        """A new one; what is left of an older one of this name is removed."""
        remove(root, name)
        try:
            os.mkdir(name, 0o700, dir_fd=root.fd)
            os.mkdir(f"{name}/{TREE}", 0o700, dir_fd=root.fd)
        except OSError as error:
            raise storage_error(error, f"cannot create {root.shown(name)}") from error
        return cls._open(root, name)

    @classmethod
    def reopen(cls, root: Root, name: str) -> Staging | None:
        """One that was there before; None when it, or its tree, is gone."""
        try:
            return cls._open(root, name)
        except StorageMissing:
            return None

    @classmethod
    def _open(cls, root: Root, name: str) -> Staging:
        fd = -1
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=root.fd)
            return cls(root, name, fd, Branches(os.open(TREE, _DIRECTORY, dir_fd=fd)))
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            raise storage_error(error, f"cannot open {root.shown(name)}") from error

    @property
    def path(self) -> str:
        """Of the staging directory, where single large files are downloaded to."""
        return os.path.join(self.root.path, self.name)

    @property
    def identity(self) -> FileIdentity:
        """Of the tree: what to look for under its final name after a kill."""
        return stamp_from(os.fstat(self.tree.fd)).identity

    def adopt(self, name: str, path: str) -> Stamp:
        """Moves a finished file of the staging directory to its path in the tree."""
        with self.tree.parent(path) as (directory, leaf):
            try:
                os.replace(name, leaf, src_dir_fd=self._fd, dst_dir_fd=directory)
            except OSError as error:
                raise storage_error(error, f"cannot rename to {safe(path)}") from error
        stamp = self.tree.stat(path)
        if stamp is None:
            raise StorageMissing(f"{safe(path)} is gone")
        return stamp

    def sync(self) -> None:
        """Everything written so far is on the disk after it: one call for the whole file system, whatever the number
        of files. A failure is StorageFailed, whatever its number."""
        code = _syncfs(self._fd)
        if code:
            raise StorageFailed(
                f"cannot sync {safe(self.path)}: {os.strerror(code)}",
                "it is verified from the disk",
                {"verify": True},
            )

    def finish(self, target: str, policy: str, from_user: bool) -> str:
        """Gives the tree its name, if that is free, else under "rename" the next free one; the final path. Sync first.
        Raises Fault "exists" under other policies."""
        if not from_user:
            check_name(target)
        for number in range(MAX_RENAMES if policy == "rename" else 1):
            name = numbered(target, number)
            code = move_noreplace(self._fd, TREE, self.root.fd, name)
            if not code:
                self.root.fsync_dir()
                return os.path.join(self.root.path, name)
            if code not in (errno.EEXIST, errno.ENOTEMPTY):
                raise storage_error(OSError(code, ""), f"cannot rename to {self.root.shown(name)}")
        path = self.root.shown(target)
        raise Fault("exists", f"{path} exists already", details={"path": path})

    def merge(self, target: str, collection: Collection, overwrite: bool) -> list[tuple[str, str]]:
        """Moves what is in the tree into the folder `target`, which is there; what is in the way there is left alone, or
        replaced if it is a file and `overwrite` says so. Answers (path, why) of what could not be moved."""
        try:
            into = Branches(os.open(target, _DIRECTORY, dir_fd=self.root.fd))
        except OSError as error:
            raise storage_error(error, f"cannot write into {self.root.shown(target)}") from error
        refused = []
        try:
            for file in collection.files:
                if self.tree.stat(file.path) is not None and (why := self._move(into, file.path, overwrite)):
                    refused.append((file.path, why))
            for directory in collection.directories:
                into.make(directory)
        finally:
            into.close()
        self.sync()
        return refused

    def _move(self, into: Branches, path: str, overwrite: bool) -> str:
        try:
            with self.tree.parent(path) as (source, leaf), into.parent(path) as (directory, _):
                code = move_noreplace(source, leaf, directory, leaf)
                if code == errno.EEXIST and overwrite:
                    there = os.stat(leaf, dir_fd=directory, follow_symlinks=False)
                    if not (stat.S_ISREG(there.st_mode) or stat.S_ISLNK(there.st_mode)):
                        return "something that is not a plain file is in the way"
                    os.replace(leaf, leaf, src_dir_fd=source, dst_dir_fd=directory)
                elif code == errno.EEXIST:
                    return ""  # it came meanwhile, and is left alone
                elif code:
                    raise OSError(code, os.strerror(code))
        except OSError as error:
            return os.strerror(error.errno or errno.EIO)
        except StorageMissing as missing:
            return missing.message
        except StorageFailed as failed:
            return failed.message
        return ""

    def close(self) -> None:
        """Lets the descriptors go; everything stays for `reopen`."""
        self.tree.close()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Branches:
    """The directories of a tree below one descriptor. Files come in the order of their paths, so that the one directory that
    is open serves most of them."""

    def __init__(self, fd: int) -> None:
        """Takes over `fd`."""
        self.fd = fd
        self._at = ""
        self._open = fd

    def close(self) -> None:
        """Closes all descriptors."""
        self._leave()
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def _leave(self) -> None:
        if self._open != self.fd:
            os.close(self._open)
        self._at, self._open = "", self.fd

    @contextmanager
    def parent(self, path: str, create: bool = True) -> Iterator[tuple[int, str]]:
        """The descriptor of the directory that a path is in, made if need be, and its last component."""
        directory, _, leaf = path.rpartition("/")
        if directory != self._at:
            self._enter(directory, create)
        yield self._open, leaf

    def make(self, directory: str) -> None:
        """Makes a directory and those above it."""
        self._enter(directory, True)

    def _enter(self, directory: str, create: bool) -> None:
        self._leave()
        if not directory:
            return
        fd = self.fd
        for component in check_path(directory):
            try:
                below = _step(fd, component, create)
            except OSError as error:
                raise storage_error(error, f"cannot open the directory {safe(directory)}") from error
            finally:
                if fd != self.fd:
                    os.close(fd)
            fd = below
        self._at, self._open = directory, fd

    def write(self, path: str, data: memoryview | bytes) -> Stamp:
        """A new file with these octets; its stamp. What is left of an earlier try is replaced."""
        with self.parent(path) as (directory, leaf):
            try:
                try:
                    fd = os.open(leaf, _CREATE, 0o600, dir_fd=directory)
                except FileExistsError:
                    os.unlink(leaf, dir_fd=directory)
                    fd = os.open(leaf, _CREATE, 0o600, dir_fd=directory)
                try:
                    written = os.write(fd, data) if len(data) else 0
                    while written < len(data):
                        written += os.write(fd, data[written:])
                    return stamp_from(os.fstat(fd))
                finally:
                    os.close(fd)
            except OSError as error:
                raise storage_error(error, f"cannot write {safe(path)}") from error

    def stat(self, path: str) -> Stamp | None:
        """Of a plain file; None for anything else, and for nothing."""
        try:
            with self.parent(path, create=False) as (directory, leaf):
                status = os.stat(leaf, dir_fd=directory, follow_symlinks=False)
        except (OSError, StorageMissing, StorageFailed):
            return None
        return stamp_from(status) if stat.S_ISREG(status.st_mode) else None

    def exists(self, path: str) -> bool:
        """Whether anything is there, also a link to nowhere."""
        try:
            with self.parent(path, create=False) as (directory, leaf):
                os.stat(leaf, dir_fd=directory, follow_symlinks=False)
        except (OSError, StorageMissing, StorageFailed):
            return False
        return True

    def open(self, path: str, writing: bool = False) -> int:
        """A file for reading, or one of ours for writing."""
        try:
            with self.parent(path, create=False) as (directory, leaf):
                return os.open(leaf, (_READ | os.O_RDWR) if writing else _READ, dir_fd=directory)
        except OSError as error:
            raise storage_error(error, f"cannot open {safe(path)}") from error


def _step(fd: int, component: str, create: bool) -> int:
    try:
        return os.open(component, _DIRECTORY, dir_fd=fd)
    except FileNotFoundError:
        if not create:
            raise
    try:
        os.mkdir(component, 0o700, dir_fd=fd)
    except FileExistsError:
        pass  # made meanwhile
    return os.open(component, _DIRECTORY, dir_fd=fd)


def remove(root: Root, name: str) -> None:
    """Removes a staging directory with all that is in it, never following a link."""
    if not shutil.rmtree.avoids_symlink_attacks:
        raise LocalProtocolError("folders cannot be removed safely on this system")
    try:
        shutil.rmtree(name, dir_fd=root.fd)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(error, f"cannot remove {root.shown(name)}") from error


def find_finished(root: Root, target: str, tree: FileIdentity | None) -> str | None:
    """The path under which the tree got its name, when a kill came between that and its record."""
    for number in range(MAX_RENAMES):
        status = root.stat(numbered(target, number))
        if status is None:
            return None
        if tree is not None and stamp_from(status).identity == tree:
            return os.path.join(root.path, numbered(target, number))
    return None


@cache
def _libc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None, use_errno=True)
        library.syncfs.argtypes = (ctypes.c_int,)
        library.syncfs.restype = ctypes.c_int
    except (AttributeError, OSError, TypeError):
        return None
    return library


def _syncfs(fd: int) -> int:
    """syncfs(2), which reports failed writes since Linux 5.8; elsewhere sync(2). 0, or an errno."""
    library = _libc()
    if library is None:
        os.sync()
        return 0
    return 0 if library.syncfs(fd) == 0 else ctypes.get_errno()
