"""What can be looked at without a daemon: its socket, its home, its settings file. For p2pctl doctor.

The rule: a check is a function and a row of CHECKS; it changes nothing and says one line each. Knows nothing of the daemon's insides: what
needs these is checked by the daemon (p2pd/control/doctor.py).
"""

from __future__ import annotations

import os
import stat

from protocol.display import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    Item = dict[str, Any]

OK, WARN, FAIL = "ok", "warn", "fail"


class Scene:
    """What the checks look at: the places where the socket may be, best first, and the environment."""

    def __init__(self, paths: Sequence[str], environ: Mapping[str, str]) -> None:
        self.paths = paths
        self.environ = environ

    @property
    def path(self) -> str:
        """The socket: the first place where something is, else the best one."""
        return next(
            (path for path in self.paths if os.path.lexists(path)), self.paths[0] if self.paths else ""
        )


def item(check: str, status: str, message: str, hint: str = "") -> Item:
    """A line of the answer."""
    return {"check": check, "status": status, "message": message, "hint": hint}


def socket(name: str, scene: Scene) -> Iterator[Item]:
    """The control socket is there and is private."""
    path = scene.path
    shown = safe(path)
    try:
        status = os.lstat(path)
    except OSError as error:
        yield item(
            name,
            FAIL,
            f"there is no control socket at {shown}: {error.strerror}",
            "start p2pd, or --home DIR",
        )
        return
    if not stat.S_ISSOCK(status.st_mode):
        yield item(name, FAIL, f"{shown} is no socket", "move it away, and start p2pd")
    elif status.st_mode & 0o077 and _open_to_others(os.path.dirname(path)):
        yield item(
            name, FAIL, f"others can use the control socket {shown}", f"chmod 600 {shown}; restart p2pd"
        )
    elif not os.access(path, os.R_OK | os.W_OK):
        yield item(name, FAIL, f"no right to use {shown}", "only the user who runs p2pd may speak with it")
    else:
        yield item(name, OK, f"{shown} is there, for this user alone")


def _open_to_others(directory: str) -> bool:
    try:
        return bool(os.stat(directory or ".").st_mode & 0o077)
    except OSError:
        return False


def home(name: str, scene: Scene) -> Iterator[Item]:
    """The directory of the socket, which is the home unless --socket says otherwise, is private and can be written."""
    directory = os.path.dirname(scene.path)
    shown = safe(directory)
    try:
        mode = os.stat(directory).st_mode
    except OSError as error:
        yield item(name, FAIL, f"there is no {shown}: {error.strerror}", "p2pd makes it at its first start")
        return
    if mode & 0o077:
        yield item(name, FAIL, f"others can look into {shown}", f"chmod 700 {shown}")
    elif not os.access(directory, os.W_OK | os.X_OK):
        yield item(name, FAIL, f"{shown} cannot be written", "is it of another user?")
    else:
        yield item(name, OK, f"{shown} is private and can be written")


def config(name: str, scene: Scene) -> Iterator[Item]:
    """The settings file can be read as TOML."""
    path = _config_file(scene.environ)
    shown = safe(path)
    if not os.path.exists(path):
        named = "P2PD_CONFIG" in scene.environ
        status, message = (
            (FAIL, f"there is no {shown}") if named else (OK, f"no settings file at {shown}: defaults hold")
        )
        yield item(name, status, message, "P2PD_CONFIG names it" if named else "")
        return
    from tomllib import TOMLDecodeError, load

    try:
        with open(path, "rb") as stream:
            load(stream)
    except OSError as error:
        yield item(name, FAIL, f"{shown} cannot be read: {error.strerror}", "check its owner and mode")
    except (TOMLDecodeError, UnicodeDecodeError) as error:
        yield item(name, FAIL, f"{shown}: {safe(str(error))}", "p2pd check says more")
    else:
        yield item(name, OK, f"{shown} can be read; p2pd check looks at each setting")


def _config_file(environ: Mapping[str, str]) -> str:
    """Where p2pd looks for it unless --config is given."""
    if named := environ.get("P2PD_CONFIG"):
        return named
    directory = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "~"), ".config")
    return os.path.join(directory, "p2pd", "p2pd.toml")


CHECKS: tuple[tuple[str, Callable[[str, Scene], Iterator[Item]]], ...] = (
    ("socket", socket),
    ("config", config),
)
"""Looked at each time."""

ALONE: tuple[tuple[str, Callable[[str, Scene], Iterator[Item]]], ...] = (("home", home),)
"""Looked at when there is no daemon to do it."""
