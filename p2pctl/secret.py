"""A new secret from whoever runs the command: a hidden prompt on a terminal, a private file, a descriptor.

The rule: never from the command line or the environment, never shown, never written. What is typed is typed twice.
"""

from __future__ import annotations

import os
import sys

from protocol.display import safe
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_OCTETS = 4096


def read_secret(file: str | None, fd: int | None, ask: Callable[[str], str] | None = None) -> str:
    """The secret without its line end. Raises Fault usage: unreadable, readable by others, empty, no terminal to ask at."""
    if file is not None:
        return _text(_of_file(file), safe(file))
    if fd is not None:
        return _text(_of_descriptor(fd), f"descriptor {fd}")
    return _typed(ask)


def _of_file(file: str) -> bytes:
    import stat
    from shlex import quote

    shown = safe(file)
    try:
        with open(file, "rb") as stream:
            status = os.fstat(stream.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
                raise Fault("usage", f"others can read the password file {shown}", f"chmod 600 {quote(file)}")
            if status.st_uid not in (os.geteuid(), 0):
                raise Fault(
                    "usage", f"the password file {shown} belongs to another user", "make your own copy of it"
                )
            return stream.read(MAX_OCTETS + 1)
    except OSError as error:
        raise Fault("usage", f"cannot read the password file {shown}: {error.strerror}") from error


def _of_descriptor(fd: int) -> bytes:
    try:
        with os.fdopen(fd, "rb") as stream:
            return stream.read(MAX_OCTETS + 1)
    except (OSError, ValueError) as error:
        raise Fault(
            "usage", f"cannot read the password from descriptor {fd}", "open it for p2pctl: 3<FILE"
        ) from error


def _text(octets: bytes, where: str) -> str:
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Fault("usage", f"the password from {where} is not UTF-8") from error
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or len(octets) > MAX_OCTETS:
        raise Fault("usage", f"the password from {where} is {'too long' if text else 'empty'}")
    return text


def _typed(ask: Callable[[str], str] | None) -> str:
    if ask is None:
        if not sys.stdin.isatty():
            raise Fault(
                "usage",
                "no new password was given and there is no terminal to ask at",
                "use --password-file FILE, --password-fd N or --invite",
            )
        from getpass import getpass

        ask = getpass
    try:
        first = ask("New swarm password (case matters): ")
        second = ask("The same again: ")
    except EOFError as error:
        raise Fault("usage", "no password was given") from error
    if first != second:
        raise Fault("usage", "the two passwords differ", "type the same one twice")
    if not first:
        raise Fault("usage", "the password is empty", "type one, or use --invite")
    return first
