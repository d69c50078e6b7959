"""`p2pd check` and `p2pd paths`: what the settings come to, for people and as one JSON document."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from p2pd import config, overlay, printing, secrets
from p2pd.net.addresses import format_endpoint
from protocol.display import safe
from protocol.errors import Fault


def run(
    command: str, role: str | None, flags: Mapping[str, Any], environ: Mapping[str, str], *, as_json: bool
) -> int:
    """Prints; the exit status. Raises Fault usage with all that is wrong in the settings."""
    role = role or config.gather("peer", flags, environ).value("daemon.role") or "peer"
    settings = config.load(role, flags, environ)
    if command == "paths":
        _print_paths(paths(settings), as_json)
        return 0
    config.check_trackers(settings)
    file = Path(settings.password_file).expanduser()
    if settings.password_file and (file.is_file() or not file.exists()):  # a pipe can be read but once
        secrets.given(
            secrets.PasswordSource(file=settings.password_file), {}
        )  # can it be read, is it private
    doubts = warnings(settings)
    if as_json:
        named = None if settings.config_file is None else str(settings.config_file)
        printing.document("check", {"ok": True, "role": role, "config_file": named}, doubts)
        return 0
    for line in facts(settings):
        printing.say(safe(line))
    for doubt in doubts:
        printing.warn(doubt)
    return 0


def paths(settings: config.Settings) -> dict[str, str]:
    """Every path in use."""
    home = settings.home
    return {
        "config": str(settings.config_file or config.default_config_file()),
        "home": str(home),
        "socket": str(settings.socket),
        "device_key": str(home / secrets.DEVICE_FILE),
        "network_key": str(home / secrets.NETWORK_FILE),
        "database": str(home / f"{settings.role}.db"),
        "overlay": str(overlay.path(home)),
    }


def _print_paths(found: dict[str, str], as_json: bool) -> None:
    if as_json:
        printing.document("paths", found)
        return
    width = max(map(len, found))
    for name, path in found.items():
        absent = "" if Path(path).exists() else "  (not there yet)"
        printing.say(f"{name:<{width}}  {safe(path)}{absent}")


def facts(settings: config.Settings) -> list[str]:
    """Lines for people about good settings."""
    lines = [f"The settings are good: {settings.role}, from {settings.config_file or 'defaults (no file)'}"]
    if settings.tracker_listen is not None:
        lines.append(f"  tracker listens on {_where(settings.tracker_listen)}")
    if settings.peer_listen is not None:
        lines.append(f"  peer listens on {_where(settings.peer_listen)}")
        lines.append(f"  trackers: {', '.join(map(str, settings.trackers))}")
    lines.append(f"  home: {settings.home}")
    lines.append(f"  password: {_password(settings)}")
    return lines


def warnings(settings: config.Settings) -> list[str]:
    """What good settings name and this machine has not, or not for this user: it may come, but is more often a mistake."""
    found = []
    for name, argv in settings.hooks.items() if settings.role == "peer" else ():
        if argv and (why := _no_program(argv[0])):
            found.append(f"hooks.{name}: {argv[0]} {why}")
    if settings.log_file is not None:
        directory = settings.log_file.parent
        if directory.is_dir():
            if not os.access(directory, os.W_OK | os.X_OK):
                found.append(f"log.file: no permission to write in {directory}")
        elif directory != settings.home or directory.exists():  # the home is made at the first start
            found.append(f"log.file: {directory} is not a directory that is there; p2pd does not make it")
    return found


def _no_program(path: str) -> str:
    """Why it cannot be run, or ""."""
    if not os.path.exists(path):
        return "does not exist"
    if not os.path.isfile(path):
        return "is not a file"
    return "" if os.access(path, os.X_OK) else "cannot be run: it is not executable for this user"


def _where(endpoint: Any) -> str:
    return format_endpoint(endpoint.host, endpoint.port) if endpoint.host else f"port {endpoint.port}"


def _password(settings: config.Settings) -> str:
    if settings.password_file or settings.password_command:
        return f"from {settings.password_file or 'a command'}"
    try:
        ring = secrets.load_ring(settings.home, settings.network)
    except Fault as fault:
        return fault.message
    return "its key is kept" if ring is not None else "asked for at the first start"
