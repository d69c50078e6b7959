"""Small private files of the home, written whole or not at all: temporary file, fsync, rename, fsync of the directory."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from protocol.display import safe
from protocol.errors import Fault


def write_private(path: Path, octets: bytes) -> None:
    """Replaces `path`, mode 0600. Raises Fault storage; the old file is whole then."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as stream:
            stream.write(octets)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise Fault("storage", f"cannot write {safe(str(path))}: {error.strerror}") from error


def create_private(path: Path, octets: bytes) -> None:
    """Makes `path`, mode 0600, and its directory (0700) if need be. Raises Fault storage, and exists when there is something of that
    name; nothing is left behind then."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Fault("storage", f"cannot make {safe(str(path.parent))}: {error.strerror}") from error
    try:
        temporary.unlink(missing_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as stream:
                stream.write(octets)
                stream.flush()
                os.fsync(stream.fileno())
            os.link(temporary, path)  # unlike a rename it never takes the place of another
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)
    except FileExistsError as error:
        raise Fault("exists", f"there is already {safe(str(path))}") from error
    except OSError as error:
        raise Fault("storage", f"cannot write {safe(str(path))}: {error.strerror}") from error


def sync_directory(path: Path) -> None:
    """Makes what was renamed or removed in a directory last. Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
