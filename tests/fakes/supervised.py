"""A service manager that listens, and what a daemon in this process needs of the outside: log, settings, supervision."""

from __future__ import annotations

import io
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from p2pd.applying import register_log
from p2pd.config import gather
from p2pd.logs import Log
from p2pd.notify import Notifier
from p2pd.supervision import Supervision
from p2pd.tuning import Tuning

DEADLINE = 20.0


class Manager:
    """A socket like that of systemd, at a path or (`@NAME`) abstract."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(DEADLINE)

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def hear(self) -> dict[str, str]:
        """The next message. Fails when none comes."""
        pairs = (line.partition("=") for line in self.socket.recv(4096).decode().split("\n"))
        return {name: value for name, _, value in pairs}

    def until(self, **fields: str) -> list[dict[str, str]]:
        """The messages up to one that has these fields."""
        heard = []
        while True:
            heard.append(self.hear())
            if fields.items() <= heard[-1].items():
                return heard


def make_tuning(
    home: Path,
    role: str = "peer",
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Tuning:
    """The settings of a daemon with this home; a peer has a tracker."""
    file = home / "p2pd.toml" if home.is_dir() else Path("/dev/null")
    given = {"daemon.home": str(home), "config": str(file), "peer.with_tracker": True}
    file.touch()
    return Tuning(gather(role, {**given, **(flags or {})}, environ or {}))


def make_supervision(
    home: Path, tuning: Tuning | None = None, environ: dict[str, str] | None = None
) -> Supervision:
    """Supervision without a manager unless `environ` names one; its log goes nowhere."""
    tuning = tuning or make_tuning(home)
    log = Log("text", io.StringIO())
    register_log(tuning, log)
    return Supervision(tuning, log, Notifier({} if environ is None else environ))
