"""Settings: flag > environment > file > default, checked once, then passed down as one frozen value.

The table KEYS is the only list of settings; flags, environment names (`P2PD_SECTION_KEY`), the TOML file and docs/config.md
follow it. The daemon never writes the user's file.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from p2pd.net.addresses import Endpoint, parse_endpoint, parse_listen
from protocol.errors import Fault
from protocol.limits import MAX_NETWORK_NAME
from protocol.sizes import parse_rate

TRACKER_PORT = 9000
PEER_PORT = 8001
_SIZE = re.compile(r"(\d{1,12})([KMGT]?)(?:i?B)?", re.ASCII | re.IGNORECASE)
MAX_SOCKET_PATH = 107  # octets of sun_path that Linux takes


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise Fault("usage", f"{where} must be text, not {value!r}")
    return value


def _flag(value: Any, where: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("1", "true", "yes", "on"):
        return True
    if isinstance(value, str) and value.lower() in ("0", "false", "no", "off"):
        return False
    raise Fault("usage", f"{where} must be true or false, not {value!r}")


def _list(value: Any, where: str) -> list[str]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return value
    raise Fault("usage", f"{where} must be a list of texts, not {value!r}")


def _count(least: int, most: int) -> Callable[[Any, str], int]:
    def check(value: Any, where: str) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if type(value) is not int or not least <= value <= most:
            raise Fault("usage", f"{where} must be a number from {least} to {most}, not {value!r}")
        return value

    return check


def _size(value: Any, where: str) -> str:
    """A size as text: octets, or a number with K, M, G or T."""
    text = str(value).strip()
    if isinstance(value, bool) or _SIZE.fullmatch(text) is None:
        raise Fault("usage", f"{where} must be a size such as 64M, not {value!r}")
    return text


def _octets(size: str) -> int:
    """What _size accepted, in octets (powers of 1024)."""
    match = _SIZE.fullmatch(size)
    assert match is not None
    return int(match[1]) << 10 * ("KMGT".index(match[2].upper()) + 1 if match[2] else 0)


def _choice(*allowed: str) -> Callable[[Any, str], str]:
    def check(value: Any, where: str) -> str:
        text = _text(value, where)
        if text not in allowed:
            raise Fault("usage", f"{where} must be one of {', '.join(allowed)}, not {text!r}")
        return text

    return check


def _rate(value: Any, where: str) -> int:
    """Octets a second; 0: no limit."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    try:
        return parse_rate(_text(value, where))
    except Fault as fault:
        raise Fault("usage", f"{where}: {fault.message}", fault.hint) from fault


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: its default, how it is read, and a line for people."""

    default: Any
    read: Callable[[Any, str], Any]
    help: str


KEYS: dict[str, Key] = {
    "daemon.home": Key("", _text, "directory of keys, state and the control socket"),
    "daemon.socket": Key("", _text, "path of the control socket (default: control.sock in the home)"),
    "daemon.network": Key(
        "default", _text, "name of the swarm; part of the key, so it must be the same everywhere"
    ),
    "daemon.nice": Key(
        5, _count(0, 19), "how much it gives way to other programs, as nice(1): 0 not at all, 19 always"
    ),
    "peer.listen": Key(str(PEER_PORT), _text, "[HOST:]PORT other peers dial"),
    "peer.announce": Key("", _text, "HOST:PORT to tell the tracker instead, behind a port forward"),
    "peer.trackers": Key([], _list, "HOST[:PORT] of each tracker"),
    "peer.share_downloads": Key(True, _flag, "share what was downloaded"),
    "peer.max_downloads": Key(8, _count(1, 1000), "downloads that run at a time; the others wait their turn"),
    "peer.free_floor": Key("64M", _size, "room that downloads leave free on each disk"),
    "peer.with_tracker": Key(False, _flag, "run the tracker in this process too"),
    "limit.up": Key(
        0,
        _rate,
        "octets a second to other peers, such as 500K or 20M; off: no limit (`p2pctl limit` overrides)",
    ),
    "limit.down": Key(0, _rate, "octets a second from other peers"),
    "tracker.listen": Key(str(TRACKER_PORT), _text, "[HOST:]PORT of the tracker"),
    "tracker.announce": Key("", _text, "HOST that others should use for this machine"),
    "password.file": Key("", _text, "file that holds the password"),
    "password.command": Key("", _text, "command that prints the password"),
    "password.allow_weak": Key(False, _flag, "accept a password of under 12 characters"),
    "log.level": Key("info", _choice("debug", "info", "warning", "error"), "least level that is logged"),
    "log.format": Key("text", _choice("text", "json"), "text or json lines"),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one daemon, checked."""

    role: str  # "tracker" or "peer"
    home: Path
    socket: Path
    network: str
    nice: int
    peer_listen: Endpoint | None
    peer_announce: Endpoint | None
    trackers: tuple[Endpoint, ...]
    share_downloads: bool
    limit_up: int
    limit_down: int
    max_downloads: int
    free_floor: int  # octets
    tracker_listen: Endpoint | None
    tracker_announce: str
    password_file: str
    password_command: str
    allow_weak_password: bool
    log_level: str
    log_format: str
    config_file: Path | None


def default_home(role: str) -> Path:
    """Where a daemon keeps its state unless told: each role in a directory of its own, so that both run with defaults."""
    state = Path(platformdirs.user_state_dir("p2pd", appauthor=False))
    return state / role


def default_config_file() -> Path:
    """The user's file: p2pd.toml in the configuration directory."""
    return Path(platformdirs.user_config_dir("p2pd", appauthor=False)) / "p2pd.toml"


def load(role: str, flags: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Settings of a `role` daemon. `flags` maps keys of KEYS (and "config") to given values; None means not given.

    Raises Fault("usage") naming the key, its source and, for an unknown key, the nearest known one.
    """
    named = flags.get("config") or environ.get("P2PD_CONFIG")
    path = Path(named) if named else default_config_file()
    values: dict[str, Any] = {name: key.default for name, key in KEYS.items()}
    found = path if named or path.exists() else None
    if found is not None:
        values.update(_from_file(found))
    values.update(_from_environment(environ))
    for name, value in flags.items():
        if value is not None and name in KEYS:
            values[name] = KEYS[name].read(value, _flag_name(name))
    return _settings(role, values, found)


def _flag_name(name: str) -> str:
    """The option of a key, as p2pd/cli.py calls it."""
    section, _, key = name.partition(".")
    words = name if section in ("log", "password", "limit") else key
    return "--" + words.replace(".", "-").replace("_", "-")


def _from_file(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Fault(
            "usage", f"cannot read {path}: {error.strerror}", "name another file with --config"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Fault("usage", f"{path}: {error}") from error
    values: dict[str, Any] = {}
    for section, table in document.items():
        if not isinstance(table, dict):
            raise Fault("usage", f"{path}: {section!r} stands outside a section", _nearest(section))
        for key, value in table.items():
            name = f"{section}.{key}"
            if name not in KEYS:
                raise Fault("usage", f"{path}: unknown setting {name!r}", _nearest(name))
            values[name] = KEYS[name].read(value, f"{path}: {name}")
    return values


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, KEYS, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known settings: {', '.join(KEYS)}"


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for name, key in KEYS.items():
        variable = "P2PD_" + name.upper().replace(".", "_")
        if variable in environ:
            values[name] = key.read(environ[variable], variable)
    for variable, name in (("P2PD_HOME", "daemon.home"), ("P2PD_SOCKET", "daemon.socket")):
        if environ.get(variable):
            values[name] = environ[variable]
    return values


def _is_unicode(text: str) -> bool:
    """False for octets of the command line that are no UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _path(text: str) -> Path:
    """An absolute path. Raises Fault usage for the home of nobody."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise Fault("usage", f"{text}: no such user", "write the path in full") from error


def _settings(role: str, values: dict[str, Any], found: Path | None) -> Settings:
    home = _path(values["daemon.home"]) if values["daemon.home"] else default_home(role)
    socket = _path(values["daemon.socket"]) if values["daemon.socket"] else home / "control.sock"
    if len(os.fsencode(socket)) > MAX_SOCKET_PATH:
        raise Fault(
            "usage",
            f"the path of the control socket is over {MAX_SOCKET_PATH} octets: {socket}",
            "choose a shorter one with --socket (and give the same to p2pctl)",
        )
    if not 1 <= len(os.fsencode(values["daemon.network"])) <= MAX_NETWORK_NAME or not _is_unicode(
        values["daemon.network"]
    ):
        raise Fault("usage", f"the network name must have 1 to {MAX_NETWORK_NAME} octets of UTF-8")
    is_peer = role == "peer"
    with_tracker = role == "tracker" or values["peer.with_tracker"]
    announce = values["peer.announce"]
    listen = parse_listen(values["peer.listen"], PEER_PORT) if is_peer else None
    tracker_listen = parse_listen(values["tracker.listen"], TRACKER_PORT) if with_tracker else None
    trackers = (
        tuple(parse_endpoint(text, TRACKER_PORT) for text in values["peer.trackers"]) if is_peer else ()
    )
    if is_peer and tracker_listen is not None and not trackers:
        trackers = (Endpoint(tracker_listen.host or "127.0.0.1", tracker_listen.port),)
    return Settings(
        role=role,
        home=home,
        socket=socket,
        network=values["daemon.network"],
        nice=values["daemon.nice"],
        peer_listen=listen,
        peer_announce=parse_endpoint(announce, listen.port) if announce and listen else None,
        trackers=trackers,
        share_downloads=values["peer.share_downloads"],
        limit_up=values["limit.up"],
        limit_down=values["limit.down"],
        max_downloads=values["peer.max_downloads"],
        free_floor=_octets(values["peer.free_floor"]),
        tracker_listen=tracker_listen,
        tracker_announce=values["tracker.announce"],
        password_file=values["password.file"],
        password_command=values["password.command"],
        allow_weak_password=values["password.allow_weak"],
        log_level=values["log.level"],
        log_format=values["log.format"],
        config_file=found,
    )


def check_trackers(settings: Settings) -> None:
    """Raises Fault usage for a peer without a tracker."""
    if settings.role == "peer" and not settings.trackers:
        raise Fault(
            "usage",
            "a peer needs a tracker",
            "p2pd peer --tracker HOST, or p2pd peer --with-tracker to run one here too",
        )
