"""Looking through a folder that is to be shared: what is in it, what is left out and why, and hashing its files.

The rule: what is shared is below the folder and is a plain file with a name that every member accepts, once it is in NFC; links
are never followed, neither to files nor to directories, and nothing is opened before that is known. A file is hashed only if
what was opened is what the walk saw. What cannot be shared is reported and stops nothing else.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

from blake3 import blake3

from p2pd.storage.hashing import Cancelled, FileChanged, Stamp, hash_file, open_shared, stamp_from, stamp_of
from p2pd.storage.root import storage_error
from p2pd.storage.state_folders import Hashed
from protocol.display import safe
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import MAX_COLLECTION_ENTRIES, MAX_COMPONENTS, MAX_FILE, MIN_PIECE
from protocol.manifest import Manifest
from protocol.names import PART_SUFFIX, check_name, check_path, fold, own_name

KEY_FILE = "network.key"
"""In a home of p2pd: a directory with it is never shared, whatever was asked for."""

ATTEMPTS = 3  # how often a file that changes while it is hashed is tried again at once


class Found(NamedTuple):
    """A file to share: its path in the folder as it is on disk, and its stamp."""

    path: str
    stamp: Stamp


class Left(NamedTuple):
    """What is not shared. `failed`: it was meant to be, but cannot; else it is left out by a rule."""

    path: str
    reason: str
    failed: bool


@dataclass(slots=True)
class Tree:
    """What a folder holds."""

    files: list[Found] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    """Those with nothing shared in them."""
    left: list[Left] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Octets of all files."""
        return sum(found.stamp.size for found in self.files)


class Patterns:
    """Globs that leave files out: `*` also matches `/`. One without `/` means names anywhere, one with it paths from the
    folder's top; one that ends with `/` means directories only, and leaves out all that is in them."""

    def __init__(self, globs: Sequence[str]) -> None:
        named = [own_name(glob) for glob in globs]
        self._globs = [(glob.strip("/"), glob.endswith("/"), "/" in glob.rstrip("/")) for glob in named]

    def match(self, path: str, name: str, directory: bool) -> bool:
        """Whether what others would see under this path and name is left out."""
        return any(
            (directory or not only) and fnmatchcase(path if whole else name, glob)
            for glob, only, whole in self._globs
        )


def walk(
    top: str,
    name: str,
    excludes: Sequence[str] = (),
    hidden: bool = False,
    cancelled: Callable[[], bool] | None = None,
    known: Iterable[str] = (),
) -> Tree:
    """What is in the directory `top`, which will be called `name`; files and directories by path. Of names that are one to some
    systems, or to others, the first is shared: those of the paths in `known`, then those in NFC.

    Raises Fault: not_found, usage (no directory), storage (unreadable), refused (too many entries); Cancelled.
    """
    walker = _Walker(name, Patterns(excludes), hidden, cancelled, known)
    flags = os.O_RDONLY | os.O_DIRECTORY | getattr(os, "O_CLOEXEC", 0)
    try:
        fd = os.open(top, flags)
    except FileNotFoundError as error:
        raise Fault("not_found", f"{safe(top)} does not exist", "check the path") from error
    except NotADirectoryError as error:
        raise Fault("usage", f"{safe(top)} is not a folder", "leave -r out to share one file") from error
    except OSError as error:
        raise storage_error(error, f"cannot read the folder {safe(top)}") from error
    try:
        walker.directory(fd, "", 0)
    finally:
        os.close(fd)
    tree = walker.tree
    tree.files.sort()
    tree.directories.sort()
    tree.left.sort()
    return tree


class _Walker:
    """One walk."""

    def __init__(
        self,
        name: str,
        patterns: Patterns,
        hidden: bool,
        cancelled: Callable[[], bool] | None,
        known: Iterable[str],
    ) -> None:
        self.tree = Tree()
        self._name = name
        self._patterns = patterns
        self._hidden = hidden
        self._cancelled = cancelled
        self._known = known

    @cached_property
    def _shared(self) -> set[str]:
        """The known paths, and those of the directories that they lie in."""
        places = set(self._known)
        for path in self._known:
            while (path := path.rpartition("/")[0]) and path not in places:
                places.add(path)
        return places

    def directory(self, fd: int, path: str, depth: int) -> None:
        """All of one directory. `path` is "" for the top."""
        if self._cancelled is not None and self._cancelled():
            raise Cancelled
        try:
            with os.scandir(fd) as listing:
                entries = sorted(listing, key=_by_name)
        except OSError as error:
            self._leave(path or ".", _reason(error), True)
            return
        if any(entry.name == KEY_FILE for entry in entries):
            self._leave(path or ".", "a home of p2pd, with its keys", False)
            return
        if len({fold(own_name(entry.name)) for entry in entries}) < len(entries):
            entries.sort(key=lambda entry: os.path.join(path, entry.name) not in self._shared)
        before = len(self.tree.files) + len(self.tree.directories)
        taken: dict[str, str] = {}  # folded -> name
        for entry in entries:
            self._entry(fd, entry, f"{path}/{entry.name}" if path else entry.name, depth, taken)
        if path and len(self.tree.files) + len(self.tree.directories) == before:
            self.tree.directories.append(path)
            self._count()

    def _entry(self, fd: int, entry: os.DirEntry[str], path: str, depth: int, taken: dict[str, str]) -> None:
        name, shown = entry.name, own_name(path)
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return  # gone since it was listed
        except OSError as error:
            self._leave(path, _reason(error), True)
            return
        directory = stat.S_ISDIR(status.st_mode)
        if self._patterns.match(shown, shown.rpartition("/")[2], directory):
            self._leave(path, "excluded", False)
        elif name.endswith(PART_SUFFIX):
            self._leave(path, "an unfinished download", False)
        elif name.startswith(".") and not self._hidden:
            self._leave(path, "hidden", False)
        elif stat.S_ISLNK(status.st_mode):
            self._leave(path, "a symbolic link", False)
        elif not directory and not stat.S_ISREG(status.st_mode):
            self._leave(path, "not a plain file", False)
        elif problem := self._problem(shown, taken):
            self._leave(path, problem, True)
        elif directory:
            self._enter(fd, name, path, depth)
        elif status.st_size > MAX_FILE:
            self._leave(path, "larger than 1 TiB", True)
        elif not os.access(name, os.R_OK, dir_fd=fd):
            self._leave(path, "no permission to read it", True)
        else:
            self.tree.files.append(Found(path, stamp_from(status)))
            self._count()

    def _problem(self, path: str, taken: dict[str, str]) -> str:
        """Why no member would accept what others would see under this path, or ""."""
        name = path.rpartition("/")[2]
        try:
            check_name(name)
            if len(path) > 200 or path.count("/") > MAX_COMPONENTS - 4 or len(self._name) > 200:
                check_path(f"{self._name}/{path}")
        except RemoteProtocolError as error:
            return f"its name {error}"
        folded = fold(name)
        if folded in taken:
            differs = "in the Unicode normal form" if taken[folded] == name else "in case"
            return f"its name differs from another's only {differs}"
        taken[folded] = name
        return ""

    def _enter(self, fd: int, name: str, path: str, depth: int) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | getattr(os, "O_CLOEXEC", 0)
        try:
            below = os.open(name, flags, dir_fd=fd)
        except FileNotFoundError:
            return
        except OSError as error:
            self._leave(path, _reason(error), True)
            return
        try:
            self.directory(below, path, depth + 1)
        finally:
            os.close(below)

    def _leave(self, path: str, reason: str, failed: bool) -> None:
        self.tree.left.append(Left(path, reason, failed))

    def _count(self) -> None:
        if len(self.tree.files) + len(self.tree.directories) > MAX_COLLECTION_ENTRIES:
            raise Fault(
                "refused",
                f"more than {MAX_COLLECTION_ENTRIES} files",
                "share its folders one by one, or leave some out with --exclude",
            )


def hash_members(
    top: str,
    found: Iterable[Found],
    on_progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[list[Hashed], list[Left]]:
    """Hashes these files of the folder `top`; those that could not be, and why. `on_progress(octets)` is told what came
    since the last call. A file that is gone is in neither list. Raises Cancelled."""
    hashed: list[Hashed] = []
    left: list[Left] = []
    for item in found:
        if cancelled is not None and cancelled():
            raise Cancelled
        try:
            one = _hash(os.path.join(top, item.path), item, on_progress, cancelled)
        except Fault as fault:
            if fault.code != "not_found":
                left.append(Left(item.path, fault.message, True))
        except FileChanged:
            left.append(Left(item.path, "keeps changing while it is hashed", True))
        else:
            hashed.append(one)
    return hashed, left


def _hash(
    path: str,
    item: Found,
    on_progress: Callable[[int], None] | None,
    cancelled: Callable[[], bool] | None,
) -> Hashed:
    for _ in range(ATTEMPTS):
        fd, stamp = open_shared(path)
        try:
            if stamp.identity != item.stamp.identity:
                break  # replaced since the walk, perhaps by way of a link
            if stamp.size <= MIN_PIECE:
                manifest = small_manifest(_read(fd, stamp.size))
                if on_progress is not None:
                    on_progress(stamp.size)
            else:
                manifest = hash_file(fd, stamp.size, _steps(on_progress), cancelled)
            if stamp_of(fd) == stamp:
                return Hashed(item.path, manifest, stamp)
        except FileChanged:
            continue
        finally:
            os.close(fd)
    raise FileChanged


def stamp_at(path: str) -> Stamp | None:
    """The stamp of a plain file that is there, a link not followed; None for anything else."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return stamp_from(status) if stat.S_ISREG(status.st_mode) else None


def small_manifest(data: bytes | bytearray | memoryview) -> Manifest:
    """The manifest of at most MIN_PIECE octets in memory."""
    pieces = bytes(blake3(data).digest()) if len(data) else b""
    return Manifest(len(data), MIN_PIECE, sha256(data).digest(), pieces)


def _read(fd: int, size: int) -> bytes:
    """Exactly `size` octets. Raises FileChanged, StorageError."""
    try:
        data = os.read(fd, size) if size else b""
        while len(data) < size:
            more = os.read(fd, size - len(data))
            if not more:
                raise FileChanged
            data += more
    except OSError as error:
        raise storage_error(error, "cannot read the file") from error
    return data


def _steps(on_progress: Callable[[int], None] | None) -> Callable[[int], None] | None:
    """Turns the octets so far of one file into those since the last call."""
    if on_progress is None:
        return None
    told = 0

    def step(done: int) -> None:
        nonlocal told
        on_progress(done - told)
        told = done

    return step


def _by_name(entry: os.DirEntry[str]) -> tuple[bool, str]:
    """Names in NFC first."""
    return own_name(entry.name) != entry.name, entry.name


def _reason(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return "no permission to read it"
    return os.strerror(error.errno or errno.EIO)
