"""Writing below one opened directory, and nowhere else.

The rule: a name is one component, resolved against a directory descriptor without following links; a file is
created, never opened because it happens to be there; nothing is replaced unless asked. So neither a hostile
name nor a link planted meanwhile leads a write elsewhere. Names from the network are checked here once more
(protocol/names.py), whoever checked them before. Knows nothing of downloads.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from functools import cache

from protocol.display import quoted, safe
from protocol.errors import Fault
from protocol.names import check_name

_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_DIRECT = getattr(os, "O_DIRECT", 0)
_RENAME_NOREPLACE = 1  # linux/fs.h

_READ_ONLY = "read-only for the daemon: as a service it writes only where its unit lets it (ReadWritePaths=)"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_GONE = frozenset(
    {
        errno.ENOENT,
        errno.ENODEV,
        errno.ENXIO,
        errno.EIO,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        getattr(errno, "ENOMEDIUM", errno.EIO),
        getattr(errno, "ESHUTDOWN", errno.EIO),
    }
)
_UNSUPPORTED = frozenset(
    {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM, errno.EMLINK}
)


class StorageError(Fault):
    """A disk did not do what was asked. Its subclasses say what can be done about it."""

    def __init__(self, message: str, hint: str = "", details: dict[str, object] | None = None) -> None:
        super().__init__("storage", message, hint, details)


class DiskFull(StorageError):
    """No space, or no quota: goes on by itself when there is some."""


class StorageMissing(StorageError):
    """The drive, directory or file is not there or does not answer: goes on when it is back."""


class StorageFailed(StorageError):
    """Anything else, also a failed sync: needs a person, or a new look at what is on the disk."""


def storage_error(error: OSError, doing: str) -> StorageError:
    """The class and the hint for an OSError; `doing` opens the message ("cannot write x")."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    message = f"{doing}: {reason}"
    details: dict[str, object] = {"errno": errno.errorcode.get(error.errno or 0, "")}
    if error.errno in _FULL:
        return DiskFull(message, "free some space; it goes on by itself", details)
    if error.errno in _GONE:
        return StorageMissing(message, "check that the drive is connected and the directory exists", details)
    if error.errno == errno.EFBIG:
        return StorageFailed(message, "this file system cannot hold a file of that size", details)
    if error.errno == errno.EROFS:
        return StorageFailed(message, f"it is {_READ_ONLY}", details)
    if error.errno in (errno.EACCES, errno.EPERM):
        return StorageFailed(message, "check the owner and the permissions of the directory", details)
    return StorageFailed(message, "", details)


def check_local_name(name: str) -> str:
    """`name` when it is one component, as its user may choose it. Raises Fault "usage"."""
    if not name or name in (".", "..") or "/" in name or "\0" in name or (os.altsep and os.sep in name):
        raise Fault("usage", f"{quoted(name)} is not a file name", hint="give a name without directories")
    return name


def numbered(name: str, number: int) -> str:
    """The name to try when `name` is taken: `a.tar.gz`, 2 -> `a.tar (2).gz`; number 0 is the name itself.
    Kept under 255 octets."""
    if number == 0:
        return name
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension) > 16:
        stem, dot, extension = name, "", ""
    tail = f" ({number}){dot}{extension}"
    room = 255 - len(os.fsencode(tail))
    while len(os.fsencode(stem)) > room:
        stem = stem[:-1]
    return stem + tail


@cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    """The C library's renameat2(2), or None (other systems, old libraries)."""
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    function.restype = ctypes.c_int

    def call(old_directory: int, old: bytes, new_directory: int, new: bytes, flags: int) -> int:
        return 0 if function(old_directory, old, new_directory, new, flags) == 0 else ctypes.get_errno()

    return call


def move_noreplace(source: int, old: str, target: int, new: str) -> int:
    """Moves a file or directory from one open directory to another, in one step and only if the name is free there; 0,
    or an errno (EEXIST). Where the system cannot do that, a plain file or an empty directory of ours holds the name
    first."""
    function = _renameat2()
    code = errno.ENOSYS
    if function is not None:
        code = function(source, os.fsencode(old), target, os.fsencode(new), _RENAME_NOREPLACE)
    if code not in _UNSUPPORTED:
        return code
    try:
        if stat.S_ISDIR(os.stat(old, dir_fd=source, follow_symlinks=False).st_mode):
            os.mkdir(new, 0o700, dir_fd=target)
        else:
            os.close(
                os.open(
                    new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _CLOEXEC, 0o600, dir_fd=target
                )
            )
        os.replace(old, new, src_dir_fd=source, dst_dir_fd=target)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


class Root:
    """An open directory. Every method takes a single component; `from_user` is True for a name its user
    typed, which may be any component, False (the default) for one that came over the network. All raise
    StorageError for what the disk refuses."""

    def __init__(self, path: str | os.PathLike[str], create: bool = False) -> None:
        """Opens `path`, which may be reached through links: it is the user's choice. With `create`, makes it
        (mode 0700) and its parents first."""
        self.path = os.path.abspath(os.fspath(path))
        try:
            if create:
                os.makedirs(self.path, mode=0o700, exist_ok=True)
            self.fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _CLOEXEC)
            self.device = os.fstat(self.fd).st_dev
        except OSError as error:
            raise storage_error(error, f"cannot open the directory {safe(self.path)}") from error

    def close(self) -> None:
        """Closes the descriptor; open files stay. May be called twice."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Root:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def shown(self, name: str) -> str:
        """The path of a name, safe to print."""
        return safe(os.path.join(self.path, name))

    # -- files --------------------------------------------------------------------------------------------

    def open_part(self, name: str) -> int:
        """Creates a file of ours and opens it for reading and writing, mode 0600. It must not be there: Fault
        "exists"."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _CLOEXEC
        try:
            return os.open(check_local_name(name), flags, 0o600, dir_fd=self.fd)
        except FileExistsError as error:
            raise Fault("exists", f"{self.shown(name)} exists already") from error
        except OSError as error:
            raise storage_error(error, f"cannot create {self.shown(name)}") from error

    def reopen_part(self, name: str) -> int:
        """Opens a file that open_part made before. StorageMissing when it is not there, StorageFailed when it
        is not a plain file."""
        try:
            fd = os.open(check_local_name(name), os.O_RDWR | _NOFOLLOW | _NONBLOCK | _CLOEXEC, dir_fd=self.fd)
        except OSError as error:
            raise storage_error(error, f"cannot open {self.shown(name)}") from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise StorageFailed(f"{self.shown(name)} is not a plain file")
        return fd

    def open_direct(self, name: str, like: int) -> int:
        """Opens the file of descriptor `like` once more under its name, for unbuffered writing; -1 where that cannot be done."""
        if not _DIRECT:
            return -1
        try:
            fd = os.open(check_local_name(name), os.O_WRONLY | _DIRECT | _NOFOLLOW | _CLOEXEC, dir_fd=self.fd)
        except OSError:
            return -1
        if not os.path.samestat(os.fstat(fd), os.fstat(like)):
            os.close(fd)
            return -1
        return fd

    def stat(self, name: str) -> os.stat_result | None:
        """What is there under that name, a link as itself; None for nothing."""
        try:
            return os.stat(check_local_name(name), dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(error, f"cannot look at {self.shown(name)}") from error

    def exists(self, name: str) -> bool:
        """True when anything is there under that name, also a dangling link."""
        return self.stat(name) is not None

    def unlink(self, name: str) -> bool:
        """Removes a file or a link; False when nothing was there."""
        try:
            os.unlink(check_local_name(name), dir_fd=self.fd)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise storage_error(error, f"cannot remove {self.shown(name)}") from error
        return True

    def rename_noreplace(self, old: str, new: str, from_user: bool = False) -> None:
        """Gives a file of ours its name, in one step, and only if that is free: Fault "exists" otherwise.
        BadName for a name from the network."""
        check_local_name(old)
        self._check_target(new, from_user)
        try:
            code = self._try_renameat2(old, new)
            if code in _UNSUPPORTED:
                code = self._link_and_unlink(old, new)
        except OSError as error:
            code = error.errno or errno.EIO
        if code == errno.EEXIST:
            if self._finish_interrupted(old, new):
                return
            raise Fault("exists", f"{self.shown(new)} exists already", details={"path": self.shown(new)})
        if code:
            raise storage_error(OSError(code, ""), f"cannot rename to {self.shown(new)}")

    def replace(self, old: str, new: str, from_user: bool = False) -> None:
        """Gives a file of ours its name, in one step, in place of a plain file or link of that name.
        StorageFailed for anything else there."""
        check_local_name(old)
        self._check_target(new, from_user)
        there = self.stat(new)
        if there is not None and not (stat.S_ISREG(there.st_mode) or stat.S_ISLNK(there.st_mode)):
            raise StorageFailed(
                f"{self.shown(new)} is not a plain file", hint="only plain files are overwritten"
            )
        try:
            os.replace(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except OSError as error:
            raise storage_error(error, f"cannot rename to {self.shown(new)}") from error

    def _check_target(self, name: str, from_user: bool) -> None:
        check_local_name(name)
        if not from_user:
            check_name(name)

    def _try_renameat2(self, old: str, new: str) -> int:
        function = _renameat2()
        if function is None:
            return errno.ENOSYS
        return function(self.fd, os.fsencode(old), self.fd, os.fsencode(new), _RENAME_NOREPLACE)

    def _link_and_unlink(self, old: str, new: str) -> int:
        """For file systems without RENAME_NOREPLACE. Between the two calls the file has both names, which
        _finish_interrupted mends."""
        try:
            os.link(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            return self._reserve_and_replace(old, new)
        os.unlink(old, dir_fd=self.fd)
        return 0

    def _reserve_and_replace(self, old: str, new: str) -> int:
        """For file systems without hard links either: an empty file of ours holds the name until it is
        replaced."""
        os.close(
            os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _CLOEXEC, 0o600, dir_fd=self.fd)
        )
        try:
            os.replace(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except OSError:
            os.unlink(new, dir_fd=self.fd)
            raise
        return 0

    def _finish_interrupted(self, old: str, new: str) -> bool:
        """True when both names were one file, because we were stopped between link and unlink; the old name
        is gone then."""
        before, after = self.stat(old), self.stat(new)
        if before is None or after is None or not os.path.samestat(before, after):
            return False
        return self.unlink(old)

    # -- the directory ------------------------------------------------------------------------------------

    def fsync_dir(self) -> None:
        """Makes creations and renames survive power loss. A failure is StorageFailed, whatever its number."""
        try:
            os.fsync(self.fd)
        except OSError as error:
            if error.errno in (
                errno.EINVAL,
                errno.ENOTSUP,
            ):  # some network file systems cannot, and do not need to
                return
            raise StorageFailed(f"cannot sync {safe(self.path)}: {os.strerror(error.errno or 0)}") from error

    def check_writable(self) -> None:
        """Raises StorageFailed when nothing can be made here."""
        if os.access(".", os.W_OK | os.X_OK, dir_fd=self.fd):
            return
        hint = "choose another directory with -o DIR"
        if os.statvfs(self.fd).f_flag & os.ST_RDONLY:
            hint = f"{hint}; this one is {_READ_ONLY}"
        raise StorageFailed(f"cannot write in {safe(self.path)}", hint)

    def free_bytes(self) -> int:
        """Octets that we may still write on this file system."""
        try:
            room = os.statvfs(self.fd)
        except OSError as error:
            raise storage_error(error, f"cannot look at {safe(self.path)}") from error
        return room.f_bavail * room.f_frsize

    def same_filesystem(self, other: Root) -> bool:
        """True when a file can be renamed from one to the other."""
        return self.device == other.device
