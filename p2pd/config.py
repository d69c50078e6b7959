"""Settings: flag > environment > overlay > file > default, checked once, then passed down as one frozen value.

The table KEYS is the only list of settings; flags, environment names (`P2PD_SECTION_KEY`), the TOML file and docs/config.md
follow it. The daemon never writes the user's file: what `p2pctl config set` changes is in the overlay (p2pd/overlay.py). How values
are read is in p2pd/kinds.py, where they come from in p2pd/layers.py, what happens while a daemon runs in p2pd/tuning.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import platformdirs

from p2pd import kinds, layers, overlay, tomlfile
from p2pd.kinds import Key
from p2pd.layers import ENVIRONMENT, FILE, FLAG, OVERLAY, Layer, Layers, Problem
from p2pd.net.addresses import Endpoint, parse_endpoint, parse_listen
from protocol.errors import Fault
from protocol.limits import MAX_FILES, MAX_FILES_PER_DEVICE, MAX_FILES_PER_NETWORK, MAX_TRACKER_CONNECTIONS

TRACKER_PORT = 9000
METRICS_PORT = 9464
PEER_PORT = 8001
_NAMED = {"peer": {"tracker.listen": "--tracker-listen"}}  # flags that are not called as their settings
MAX_SOCKET_PATH = 107  # octets of sun_path that Linux takes


KEYS: dict[str, Key] = {
    "daemon.role": Key(
        "", kinds.optional(kinds.choice("peer", "tracker")), "what `p2pd` without a command runs"
    ),
    "daemon.home": Key(
        "", kinds.path, "directory of keys, state and the control socket; empty: the default, by role"
    ),
    "daemon.socket": Key("", kinds.path, "path of the control socket; empty: control.sock in the home"),
    "daemon.network": Key(
        "default", kinds.network, "name of the swarm; part of the key, so it must be the same everywhere"
    ),
    "daemon.nice": Key(
        10,
        kinds.count(0, 19),
        "how much a peer gives way to other programs, as nice(1): 0 not at all, 19 always",
    ),
    "peer.listen": Key(str(PEER_PORT), kinds.listen(PEER_PORT), "[HOST:]PORT other peers dial"),
    "peer.announce": Key(
        "", kinds.endpoint(PEER_PORT), "HOST:PORT to tell the tracker instead, behind a port forward"
    ),
    "peer.trackers": Key([], kinds.endpoints(TRACKER_PORT), "HOST[:PORT] of each tracker", live=True),
    "peer.share_downloads": Key(
        True, kinds.flag, "share what was downloaded, unless a download says otherwise", live=True
    ),
    "peer.max_downloads": Key(
        8, kinds.count(1, 1000), "downloads that run at a time; the others wait their turn", live=True
    ),
    "peer.free_floor": Key("64M", kinds.size, "room that downloads leave free on each disk", live=True),
    "peer.with_tracker": Key(False, kinds.flag, "run the tracker in this process too"),
    "limit.up": Key(
        0,
        kinds.rate,
        "octets a second to other peers, such as 500K or 20M; off: no limit (`p2pctl limit` overrides)",
        live=True,
    ),
    "limit.down": Key(0, kinds.rate, "octets a second from other peers", live=True),
    "hooks.download_done": Key(
        [],
        kinds.argv,
        "program and arguments to run when a download is done; docs/hooks.md tells more",
        live=True,
    ),
    "hooks.download_failed": Key([], kinds.argv, "the same when a download failed for good", live=True),
    "hooks.timeout_s": Key(
        60, kinds.count(1, 86_400), "seconds after which a hook's program is killed", live=True
    ),
    "tracker.listen": Key(str(TRACKER_PORT), kinds.listen(TRACKER_PORT), "[HOST:]PORT of the tracker"),
    "tracker.registry": Key(
        "",
        kinds.registry,
        "postgresql://USER@HOST/DATABASE that several trackers share, or a file (default: tracker.db in the home)",
        mask=kinds.without_password,
    ),
    "tracker.announce": Key("", kinds.text, "HOST that others should use for this machine"),
    "tracker.max_connections": Key(
        MAX_TRACKER_CONNECTIONS,
        kinds.count(64, 100_000),
        "connections that the tracker keeps at a time, one for each member",
    ),
    "quota.device_searches_per_s": Key(
        5, kinds.count(1, 1000), "searches and lists of one device at the tracker", live=True
    ),
    "quota.device_announces_per_min": Key(6, kinds.count(1, 1000), "announces of one device", live=True),
    "quota.device_publishes_per_s": Key(
        20, kinds.count(1, 1000), "messages with changes of one device's list", live=True
    ),
    "quota.device_entries": Key(
        MAX_FILES_PER_DEVICE, kinds.count(1, MAX_FILES), "files that one device may list"
    ),
    "quota.network_searches_per_s": Key(
        50, kinds.count(0, 10**6), "the same of all devices of a /24 or /64 together; 0: no bound", live=True
    ),
    "quota.network_announces_per_min": Key(600, kinds.count(0, 10**6), "announces of a network", live=True),
    "quota.network_publishes_per_s": Key(
        200, kinds.count(0, 10**6), "messages with changes of a network", live=True
    ),
    "quota.network_entries": Key(
        MAX_FILES_PER_NETWORK, kinds.count(0, MAX_FILES), "files that a network may list", live=True
    ),
    "metrics.listen": Key(
        "",
        kinds.loopback(METRICS_PORT),
        "[127.0.0.1:]PORT of a page of figures for Prometheus, /metrics; on this machine only (default: none)",
    ),
    "password.file": Key("", kinds.text, "file that holds the password; empty: none"),
    "password.command": Key("", kinds.text, "command that prints the password; empty: none"),
    "password.allow_weak": Key(False, kinds.flag, "accept a password of under 12 characters"),
    "log.level": Key(
        "info", kinds.choice("debug", "info", "warning", "error"), "least level that is logged", live=True
    ),
    "log.format": Key("text", kinds.choice("text", "json"), "text or json lines", live=True),
    "log.file": Key(
        "",
        kinds.path,
        "a file for the log too, such as p2pd.log (relative: in the home); empty: none",
        live=True,
    ),
    "log.file_size": Key("10M", kinds.size, "octets of that file, then it is turned", live=True),
    "log.file_count": Key(3, kinds.count(0, 100), "older ones that are kept", live=True),
}


@dataclass(frozen=True, slots=True)
class Quotas:
    """What devices and networks may do at the tracker: the keys of `quota`."""

    device_searches_per_s: int
    device_announces_per_min: int
    device_publishes_per_s: int
    device_entries: int
    network_searches_per_s: int
    network_announces_per_min: int
    network_publishes_per_s: int
    network_entries: int


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
    tracker_max_connections: int
    tracker_announce: str
    tracker_registry: str  # a PostgreSQL URL, perhaps with a password, or a path; "": in the home
    quotas: Quotas
    metrics_listen: Endpoint | None
    password_file: str
    password_command: str
    allow_weak_password: bool
    log_level: str
    log_format: str
    hooks: Mapping[str, list[str]]  # programs with their arguments
    hook_seconds: int
    log_file: Path | None
    log_file_size: int  # octets
    log_file_count: int
    config_file: Path | None


@dataclass(frozen=True, slots=True)
class Sources:
    """All that the settings of one daemon were made from, so that they can be made again: see `again`, `with_overlay`."""

    role: str
    flags: Mapping[str, Any]
    environ: Mapping[str, str]
    file: Path | None
    home: Path
    layers: Layers

    def value(self, name: str) -> Any:
        """What is given for a setting, or its default."""
        return layers.value(self.layers, KEYS, name)

    def values(self) -> dict[str, Any]:
        """That of all settings."""
        return {name: self.value(name) for name in KEYS}

    def with_overlay(self, layer: Layer) -> Sources:
        """The same with another overlay."""
        given = {**self.layers, OVERLAY: layer}
        return Sources(self.role, self.flags, self.environ, self.file, self.home, given)

    def again(self) -> Sources:
        """Files read anew. Raises Fault usage with all that is wrong."""
        return gather(self.role, self.flags, self.environ)


def file_path(flags: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[Path, bool]:
    """The user's file, whether it is there or not, and whether it was named (then it must be there)."""
    named = flags.get("config") or environ.get("P2PD_CONFIG")
    return (kinds.absolute(named), True) if named else (default_config_file(), False)


def default_home(role: str) -> Path:
    """Where a daemon keeps its state unless told: each role in a directory of its own, so that both run with defaults."""
    state = Path(platformdirs.user_state_dir("p2pd", appauthor=False))
    return state / role


def default_config_file() -> Path:
    """The user's file: p2pd.toml in the configuration directory."""
    return Path(platformdirs.user_config_dir("p2pd", appauthor=False)) / "p2pd.toml"


def load(role: str, flags: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Settings of a `role` daemon. `flags` maps keys of KEYS (and "config") to given values; None means not given.

    Raises Fault("usage") with everything that is wrong, each naming its place and, for an unknown key, the nearest known one.
    """
    return compose(gather(role, flags, environ))


def gather(role: str, flags: Mapping[str, Any], environ: Mapping[str, str]) -> Sources:
    """What `load` makes settings of. Raises as it does."""
    problems: list[Problem] = []
    path, named = file_path(flags, environ)
    file = _read(path, named, problems)
    given: dict[str, Layer] = {
        FLAG: layers.from_flags(flags, KEYS, problems, _NAMED.get(role, {})),
        ENVIRONMENT: layers.from_environment(environ, KEYS, problems),
        FILE: {} if file is None else layers.from_document(file, KEYS, problems),
    }
    home = _home(role, layers.value(given, KEYS, "daemon.home"))
    # A home that is wrong is told already; another one's overlay would only add to the confusion.
    if not any(problem.key == "daemon.home" for problem in problems):
        document = _read(overlay.path(home), False, problems)
        if document is not None:
            given[OVERLAY] = layers.from_document(document, KEYS, problems, overlay.REFUSED)
    sources = Sources(role, flags, environ, None if file is None else path, home, given)
    _check_socket(sources, problems)
    if problems:
        raise layers.fault(problems)
    return sources


def _read(path: Path, must_exist: bool, problems: list[Problem]) -> tomlfile.Document | None:
    try:
        return tomlfile.read(path)
    except FileNotFoundError:
        if must_exist:
            message = f"cannot read {path}: there is no such file"
            problems.append(Problem(str(path), "", message, "name another one with --config"))
    except Fault as fault:
        where = re.match(re.escape(f"{path}:") + r"\d+", fault.message)
        problems.append(Problem(where[0] if where else str(path), "", fault.message, fault.hint))
    return None


def _home(role: str, name: str) -> Path:
    return kinds.absolute(name) if name else default_home(role)


def _socket(home: Path, name: str) -> Path:
    return kinds.absolute(name) if name else home / "control.sock"


def _check_socket(sources: Sources, problems: list[Problem]) -> None:
    socket = _socket(sources.home, sources.value("daemon.socket"))
    if len(os.fsencode(socket)) > MAX_SOCKET_PATH:
        message = f"the path of the control socket is over {MAX_SOCKET_PATH} octets: {socket}"
        hint = "choose a shorter one with --socket (and give the same to p2pctl)"
        problems.append(Problem("", "daemon.socket", message, hint))


def check(sources: Sources) -> None:
    """Raises Fault usage when values that are good one by one make no daemon together."""
    problems: list[Problem] = []
    _check_socket(sources, problems)
    if problems:
        raise layers.fault(problems)
    check_trackers(compose(sources))


def compose(sources: Sources, values: Mapping[str, Any] | None = None) -> Settings:
    """The settings that these sources make; with `values` in the place of what they give."""
    values = values or sources.values()
    is_peer = sources.role == "peer"
    with_tracker = sources.role == "tracker" or values["peer.with_tracker"]
    announce, log_file = values["peer.announce"], values["log.file"]
    listen = parse_listen(values["peer.listen"], PEER_PORT) if is_peer else None
    tracker_listen = parse_listen(values["tracker.listen"], TRACKER_PORT) if with_tracker else None
    trackers = (
        tuple(parse_endpoint(text, TRACKER_PORT) for text in values["peer.trackers"]) if is_peer else ()
    )
    if is_peer and tracker_listen is not None and not trackers:
        trackers = (Endpoint(tracker_listen.host or "127.0.0.1", tracker_listen.port),)
    return Settings(
        role=sources.role,
        home=sources.home,
        socket=_socket(sources.home, values["daemon.socket"]),
        network=values["daemon.network"],
        nice=values["daemon.nice"],
        peer_listen=listen,
        peer_announce=parse_endpoint(announce, listen.port) if announce and listen else None,
        trackers=trackers,
        share_downloads=values["peer.share_downloads"],
        limit_up=values["limit.up"],
        limit_down=values["limit.down"],
        max_downloads=values["peer.max_downloads"],
        free_floor=kinds.octets(values["peer.free_floor"]),
        tracker_listen=tracker_listen,
        tracker_max_connections=values["tracker.max_connections"],
        tracker_announce=values["tracker.announce"],
        tracker_registry=values["tracker.registry"],
        metrics_listen=parse_listen(values["metrics.listen"], METRICS_PORT)
        if values["metrics.listen"]
        else None,
        quotas=Quotas(**{field.name: values[f"quota.{field.name}"] for field in fields(Quotas)}),
        password_file=values["password.file"],
        password_command=values["password.command"],
        allow_weak_password=values["password.allow_weak"],
        log_level=values["log.level"],
        log_format=values["log.format"],
        hooks={name: values[f"hooks.{name}"] for name in ("download_done", "download_failed")},
        hook_seconds=values["hooks.timeout_s"],
        log_file=sources.home / Path(log_file).expanduser() if log_file else None,
        log_file_size=kinds.octets(values["log.file_size"]),
        log_file_count=values["log.file_count"],
        config_file=sources.file,
    )


def check_trackers(settings: Settings) -> None:
    """Raises Fault usage for a peer without a tracker."""
    if settings.role == "peer" and not settings.trackers:
        raise Fault(
            "usage",
            "a peer needs a tracker",
            "p2pd peer --tracker HOST, or p2pd peer --with-tracker to run one here too",
        )
