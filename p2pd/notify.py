"""What a service manager is told: sd_notify(3), without its library.

The rule: telling never fails and never waits; without a manager it does nothing. The variables of the protocol are taken out of the
environment, so that no child process speaks for us. Nothing here knows why something is told.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping

log = logging.getLogger("p2pd.notify")

MAX_STATUS = 200  # characters


class Notifier:
    """The manager that `environ` names. `watchdog_s`: it wants to hear from us that often, or None."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._address = _address(environ.pop("NOTIFY_SOCKET", ""))
        self.watchdog_s = _watchdog(environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", ""))
        self._socket: socket.socket | None = None
        self._silent = False
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        else:
            self.watchdog_s = None

    @property
    def managed(self) -> bool:
        """Whether anybody listens."""
        return self._socket is not None

    def ready(self, status: str) -> None:
        """Started, or done with reloading."""
        self._send("READY=1", _status(status))

    def status(self, status: str) -> None:
        """A line for `systemctl status`."""
        self._send(_status(status))

    def reloading(self) -> None:
        """The settings are being read again; `ready` follows, whatever comes of it (Type=notify-reload)."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1", "STATUS=Stopping")

    def alive(self) -> None:
        """The watchdog may sleep again."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        """Nothing more is told."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *fields: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(fields).encode(), self._address)
        except OSError as error:
            if not self._silent:
                log.warning("! the service manager is not reached: %s", error.strerror)
            self._silent = True
        else:
            self._silent = False


def _address(text: str) -> str:
    """The address of a socket; one that begins with @ is abstract. Other families (vsock) are not spoken."""
    if text.startswith("@") and len(text) > 1:
        return "\0" + text[1:]
    return text if text.startswith("/") else ""


def _watchdog(microseconds: str, pid: str) -> float | None:
    if pid and pid != str(os.getpid()):
        return None  # it is meant for another process
    if not (microseconds.isascii() and microseconds.isdigit()) or int(microseconds) == 0:
        return None
    return int(microseconds) / 1e6


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())[:MAX_STATUS]
