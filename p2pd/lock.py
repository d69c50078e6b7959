"""One daemon for one home: an flock held for life, and the directory made private.

The rule: the lock is taken before anything else in the home is opened or bound (a second bind of the control socket
would steal it), and let go by the kernel with the process, however it ends. A lock file that is left over means
nothing.
"""

from __future__ import annotations

import fcntl
import os
import shlex
from pathlib import Path

from protocol.display import safe
from protocol.errors import Fault

LOCK_NAME = "lock"


class HomeLock:
    """Holds `home` as a context manager. Raises Fault refused (another daemon has it), storage, auth (not
    ours).
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._fd = -1

    def __enter__(self) -> HomeLock:
        make_private(self._home)
        path = self._home / LOCK_NAME
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise Fault(
                "storage", f"cannot open {safe(str(path))}: {error.strerror}", "choose another --home"
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(fd, 32).decode("ascii", "replace").strip()
            os.close(fd)
            who = f" (pid {holder})" if holder.isdigit() else ""
            raise Fault(
                "refused",
                f"another p2pd{who} runs in {safe(str(self._home))}",
                "stop it with `p2pctl shutdown`, or start this one with another --home DIR",
            ) from error
        except OSError as error:  # file systems without locks
            os.close(fd)
            raise Fault(
                "storage",
                f"cannot lock {safe(str(path))}: {error.strerror}",
                "choose a --home on a local disk",
            ) from error
        self._fd = fd
        try:
            os.ftruncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
        except OSError:
            pass  # a full disk: the number is only told to people
        return self

    def __exit__(self, *exc: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def holder(home: Path) -> str:
    """Who runs in a home now: its process id, `?` if that is not known, "" when nobody does."""
    try:
        fd = os.open(home / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(fd, 32).decode("ascii", "replace").strip()
        return text if text.isdigit() else "?"
    except OSError:
        return ""
    finally:
        os.close(fd)
    return ""


def make_private(home: Path) -> None:
    """Makes the directory and its parents if needed, mode 0700. Raises Fault when it cannot be made private.

    An existing directory is closed to others only if it is empty or was a home before: `--home /tmp` must
    not lock everybody out of it.
    """
    shown = safe(str(home))
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = home.stat()
    except OSError as error:
        raise Fault(
            "storage", f"cannot make the home {shown}: {error.strerror}", "choose another one with --home DIR"
        ) from error
    if status.st_uid != os.geteuid():
        raise Fault("auth", f"the home {shown} belongs to another user", "choose another one with --home DIR")
    if status.st_mode & 0o077:
        hint = f"chmod 700 {shlex.quote(str(home))}, or choose another one with --home DIR"
        try:
            if any(home.iterdir()) and not (home / LOCK_NAME).exists():
                raise Fault("auth", f"others can read the home {shown}, which holds other files", hint)
            home.chmod(0o700)
        except OSError as error:
            raise Fault("auth", f"others can read the home {shown}: {error.strerror}", hint) from error
