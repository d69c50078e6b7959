"""The kinds of values that settings can have, and how each is read from a file, a variable, a flag or `p2pctl config set`.

The rule: a reader takes what was given (text from a command line or a variable; text, number, true/false or list from TOML) and
where it was given, and returns what the table holds, or raises Fault usage that begins with the place. What it returns it
accepts again. Knows no setting.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pd.net.addresses import is_loopback, parse_endpoint, parse_listen
from protocol.errors import Fault
from protocol.limits import MAX_NETWORK_NAME
from protocol.sizes import parse_rate

MAX_SHOWN = 60  # characters of a wrong value that a message repeats
_SIZE = re.compile(r"(\d{1,12})([KMGT]?)(?:i?B)?", re.ASCII | re.IGNORECASE)
_DATABASES = ("postgresql://", "postgres://")
_USER_PASSWORD = re.compile(r"^(\w+://[^:@/?]*):.*@")  # even with signs in it that make it no address
_OPTION_PASSWORD = re.compile(r"(password=)[^&]*")

Reader = Callable[[Any, str], Any]


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: its default, how it is read, a line for people, and whether a change holds at once (live) or after a restart."""

    default: Any
    read: Reader
    help: str
    live: bool = False
    mask: Callable[[Any], Any] = lambda value: value
    """What of a value is shown to people."""

    @property
    def applies(self) -> str:
        """`live` or `restart`."""
        return "live" if self.live else "restart"


def shown(value: Any) -> str:
    """A wrong value in a message, cut to a length for reading."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def text(value: Any, where: str) -> str:
    """Any text."""
    if not isinstance(value, str):
        raise Fault("usage", f"{where} must be text, not {shown(value)}", "put it between quotes")
    return value


def registry(value: Any, where: str) -> str:
    """A PostgreSQL URL or a path. What is wrong is not repeated: there may be a password in it."""
    if not isinstance(value, str):
        raise Fault("usage", f"{where} must be text", "put it between quotes")
    if "://" in value and not value.startswith(_DATABASES):
        raise Fault("usage", f"{where} must be a path or begin with postgresql://")
    return value


def without_password(address: Any) -> Any:
    """A PostgreSQL URL with *** for each password."""
    if not isinstance(address, str) or not address.startswith(_DATABASES):
        return address
    return _OPTION_PASSWORD.sub(r"\1***", _USER_PASSWORD.sub(r"\1:***@", address))


def flag(value: Any, where: str) -> bool:
    """True or false; as text also yes, no, on, off, 1, 0."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("1", "true", "yes", "on"):
        return True
    if isinstance(value, str) and value.lower() in ("0", "false", "no", "off"):
        return False
    raise Fault("usage", f"{where} must be true or false, not {shown(value)}")


def texts(value: Any, where: str) -> list[str]:
    """A list of texts; as text separated by commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return list(value)
    raise Fault("usage", f"{where} must be a list of texts, not {shown(value)}")


def count(least: int, most: int) -> Reader:
    """A number in a range."""

    def check(value: Any, where: str) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
            value = int(value)
        if type(value) is not int or not least <= value <= most:
            raise Fault("usage", f"{where} must be a number from {least} to {most}, not {shown(value)}")
        return value

    return check


def size(value: Any, where: str) -> str:
    """A size as text: octets, or a number with K, M, G or T."""
    read = str(value).strip()
    if isinstance(value, (bool, list, dict)) or _SIZE.fullmatch(read) is None:
        raise Fault("usage", f"{where} must be a size such as 64M, not {shown(value)}")
    return read


def octets(size_text: str) -> int:
    """What `size` accepted, in octets (powers of 1024)."""
    match = _SIZE.fullmatch(size_text)
    assert match is not None
    return int(match[1]) << 10 * ("KMGT".index(match[2].upper()) + 1 if match[2] else 0)


def choice(*allowed: str) -> Reader:
    """One of some words."""

    def check(value: Any, where: str) -> str:
        word = text(value, where)
        if word not in allowed:
            raise Fault("usage", f"{where} must be one of {', '.join(allowed)}, not {shown(word)}")
        return word

    return check


def optional(read: Reader) -> Reader:
    """What `read` takes, or "" for nothing."""
    return lambda value, where: "" if value == "" else read(value, where)


def rate(value: Any, where: str) -> int:
    """Octets a second; 0: no limit."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    try:
        return parse_rate(text(value, where))
    except Fault as fault:
        raise Fault("usage", _at(where, fault.message), fault.hint) from fault


def network(value: Any, where: str) -> str:
    """A name of a swarm."""
    name = text(value, where)
    try:
        length = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        length = 0
    if not 1 <= length <= MAX_NETWORK_NAME:
        raise Fault("usage", f"{where} must have 1 to {MAX_NETWORK_NAME} octets of UTF-8 (the network name)")
    return name


def path(value: Any, where: str) -> str:
    """A path, or nothing. `~` is a home directory."""
    name = text(value, where)
    if "\0" in name:
        raise Fault("usage", f"{where} must be a path, not {shown(name)}")
    try:
        Path(name).expanduser()
    except RuntimeError as error:
        raise Fault("usage", f"{where}: {name}: no such user", "write the path in full") from error
    return name


def absolute(name: str) -> Path:
    """What `path` accepted, in full."""
    return Path(name).expanduser().absolute()


def listen(default_port: int) -> Reader:
    """[HOST:]PORT to listen on."""
    return _address(lambda read: parse_listen(read, default_port), empty=True)


def loopback(default_port: int) -> Reader:
    """[HOST:]PORT of this machine only, or nothing."""

    def parse(read: str) -> object:
        found = parse_listen(read, default_port)
        if (found.host and not is_loopback(found.host)) or read.startswith("*"):
            raise Fault(
                "usage", f"{found.host or '*'} is not a loopback address", "write 127.0.0.1:9464 or 9464"
            )
        return found

    return _address(parse, empty=False)


def endpoint(default_port: int) -> Reader:
    """HOST[:PORT] of somebody, or nothing."""
    return _address(lambda read: parse_endpoint(read, default_port), empty=False)


def argv(value: Any, where: str) -> list[str]:
    """A program by its whole path, and its arguments; as text quoted as in sh. No shell ever sees it."""
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise Fault("usage", f"{where}: {str(error).lower()} in {shown(value)}", "close it") from error
    words = texts(value, where)
    if any("\0" in word for word in words):
        raise Fault("usage", f"{where} must be a program and its arguments, not {shown(words)}")
    if words and not words[0].startswith("/"):
        hint = 'write the whole path: ["/usr/local/bin/PROGRAM", "ARGUMENT"] (with p2pctl config set: /usr/local/bin/PROGRAM ARGUMENT)'
        raise Fault("usage", f"{where}: {shown(words[0])} is not the path of a program", hint)
    return words


def _address(parse: Callable[[str], object], *, empty: bool) -> Reader:
    def check(value: Any, where: str) -> str:
        read = text(value, where)
        if read or empty:
            _parsed(parse, read, where)
        return read

    return check


def endpoints(default_port: int) -> Reader:
    """A list of HOST[:PORT]."""

    def check(value: Any, where: str) -> list[str]:
        read = texts(value, where)
        for one in read:
            _parsed(lambda given: parse_endpoint(given, default_port), one, where)
        return read

    return check


def _parsed(parse: Callable[[str], object], given: str, where: str) -> None:
    try:
        parse(given)
    except Fault as fault:
        raise Fault("usage", _at(where, fault.message), fault.hint) from fault


def _at(where: str, message: str) -> str:
    return f"{where}: {message}"
