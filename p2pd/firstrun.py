"""The first run: what a new daemon must know, asked at a terminal or given by flags, and the two things that are made of it.

The rule: nothing is written before the last answer; a file or a key that is there is never written over, but with `force`, and then the
old file stays under another name. The password goes nowhere; what is kept is the key derived from it, in the home. Knows no
command line.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from p2pd import config, lock, secrets, tomlfile
from p2pd.files import create_private
from p2pd.lock import HomeLock
from p2pd.net.addresses import Endpoint, parse_endpoint, parse_listen
from p2pd.net.keyring import Ring
from protocol.display import safe
from protocol.errors import Fault
from protocol.keys import check_password, make_invite

ROLES = {"t": "tracker", "tracker": "tracker", "p": "peer", "peer": "peer"}
OTHER = {"tracker": "peer", "peer": "tracker"}
PORTS = {"tracker": config.TRACKER_PORT, "peer": config.PEER_PORT}
COMMENT = """\
Settings of p2pd, made by its first run; yours to change: docs/config.md lists all there are.
The key of the swarm is not here but in the home, `p2pd paths` tells where."""


class Asker(Protocol):
    """Somebody at a terminal. Raises EOFError and KeyboardInterrupt."""

    def line(self, prompt: str) -> str: ...
    def hidden(self, prompt: str) -> str: ...
    def say(self, text: str) -> None: ...


class Terminal:
    """The terminal of this process."""

    def line(self, prompt: str) -> str:
        return self._text(input, prompt)

    def hidden(self, prompt: str) -> str:
        return self._text(getpass.getpass, prompt)

    def _text(self, read: Callable[[str], str], prompt: str) -> str:
        while True:
            try:
                text = read(prompt)
                text.encode(
                    "utf-8"
                )  # what a terminal of another encoding sent may have come through as surrogates
            except UnicodeError:
                self.say("  that is not UTF-8, which all machines understand: type it again")
                continue
            return text

    def say(self, text: str) -> None:
        print(safe(text), flush=True)


@dataclass(frozen=True, slots=True)
class Plan:
    """What was given or answered. `values` are settings (`section.key`); `password` is None for the key that is kept already, or else a
    new invite."""

    role: str
    values: dict[str, Any]
    password: str | None = field(repr=False)
    allow_weak: bool = False
    epoch: int | None = None

    @property
    def network(self) -> str:
        """Name of the swarm."""
        return str(self.values.get("daemon.network", config.KEYS["daemon.network"].default))

    @property
    def home(self) -> Path:
        """Where this daemon will live."""
        return home_of(self.role, self.values)

    def words(self) -> list[str]:
        """The command line, after `p2pd`, that means the same."""
        words = [self.role]
        for option, name in (
            ("--home", "daemon.home"),
            ("--network", "daemon.network"),
            ("--listen", f"{self.role}.listen"),
        ):
            if self.values.get(name):
                words += [option, str(self.values[name])]
        if self.role == "peer":
            words += ["--with-tracker"] if self.values.get("peer.with_tracker") else []
            for tracker in self.values.get("peer.trackers", ()):
                words += ["--tracker", tracker]
        return words

    def document(self) -> str:
        """The file of settings."""
        return tomlfile.write({"daemon.role": self.role, **self.values}, COMMENT)


@dataclass(frozen=True, slots=True)
class Made:
    """What was made. `invite`: the new secret, told now or never; `moved`: where the old file went; `trouble`: why there is no file
    though there should be one."""

    file: Path | None
    invite: str | None = field(repr=False)
    moved: Path | None = None
    trouble: Fault | None = None


def home_of(role: str, values: Mapping[str, Any]) -> Path:
    """The home of a daemon with these settings."""
    named = values.get("daemon.home")
    return Path(named).expanduser().absolute() if named else config.default_home(role)


# -- questions --------------------------------------------------------------------------------------------


def ask(
    asker: Asker,
    values: Mapping[str, Any],
    password: str | None = None,
    listen: str | None = None,
    *,
    allow_weak: bool = False,
    epoch: int | None = None,
    force: bool = False,
) -> Plan:
    """Asks for what is not given, in the order password, role, tracker, port; asks again with the reason when an answer will not do.

    `password` "" is given as well: the kept key or a new invite. `force`: the key that is kept may be of another password. Raises
    EOFError, KeyboardInterrupt.
    """
    chosen = dict(values)
    network = str(chosen.get("daemon.network", config.KEYS["daemon.network"].default))
    asked = password is None and not force
    if password is None:
        password = _password(asker, network, chosen, allow_weak)
    role = _role(asker, chosen)
    while asked and password and not _agrees(asker, role, network, chosen, password):
        password = _password(asker, network, chosen, allow_weak)
    if role == "peer" and not chosen.get("peer.trackers") and not chosen.get("peer.with_tracker"):
        chosen["peer.trackers"] = [_tracker(asker)]
    chosen[f"{role}.listen"] = _listen(asker, role) if listen is None else listen
    return Plan(role, chosen, password or None, allow_weak, epoch)


def given(
    role: str | None,
    values: Mapping[str, Any],
    password: str | None = None,
    listen: str | None = None,
    *,
    allow_weak: bool = False,
    epoch: int | None = None,
) -> Plan:
    """The same without a question. Raises Fault usage that names all that is missing."""
    chosen = dict(values)
    missing = []
    if role is None:
        missing.append("--role peer or --role tracker")
    if role == "peer" and not chosen.get("peer.trackers") and not chosen.get("peer.with_tracker"):
        missing.append("--tracker HOST or --with-tracker")
    network = str(chosen.get("daemon.network", config.KEYS["daemon.network"].default))
    if password is None and (role is None or not secrets.load_ring(home_of(role, chosen), network)):
        missing.append("--password-file FILE (or another source of the password), or --invite for a new one")
    if role is None or missing:
        hint = "on a terminal, p2pd init without --role asks for all that"
        raise Fault("usage", f"missing: {'; '.join(missing)}", hint)
    if listen is not None:
        parse_listen(listen, PORTS[role])
        chosen[f"{role}.listen"] = listen
    return Plan(role, chosen, password or None, allow_weak, epoch)


def kept(network: str, values: Mapping[str, Any]) -> list[Path]:
    """Homes of this user that hold a key of the network."""
    return [home for home in dict.fromkeys(home_of(role, values) for role in OTHER) if _ring(home, network)]


def _ring(home: Path, network: str) -> Ring | None:
    try:
        return secrets.load_ring(home, network)
    except Fault:
        return None  # damaged or not private: whoever makes or uses it says so


def _password(asker: Asker, network: str, values: Mapping[str, Any], allow_weak: bool) -> str:
    """A password that will do; "" for the kept key or a new invite."""
    other = "use the one of this machine" if kept(network, values) else "make a new random one"
    while True:
        text = asker.hidden(f"Swarm password (same on all machines, case matters; Enter: {other}): ")
        if not text:
            return ""
        try:
            check_password(text, allow_weak)
        except Fault as fault:
            _again(asker, fault)
            continue
        return text


def _role(asker: Asker, values: Mapping[str, Any]) -> str:
    while True:
        answer = asker.line("(t)racker or (p)eer: ").strip().lower()
        role = ROLES.get(answer)
        if role is None:
            asker.say("  type t for tracker (who is here, who has what) or p for peer (shares and downloads)")
        elif pid := lock.holder(home := home_of(role, values)):
            asker.say(f"  a {role} runs already (pid {pid}) in {home}")
            asker.say(f"  another one needs a home of its own: p2pd {role} --home DIR --listen PORT")
        else:
            return role


def _agrees(asker: Asker, role: str, network: str, values: Mapping[str, Any], password: str) -> bool:
    """Whether a key that this home has is of that password."""
    home = home_of(role, values)
    ring = _ring(home, network)
    if ring is None or secrets.is_of(ring, password):
        return True
    asker.say(f"  {home} has the key of another password, from an earlier start; Enter keeps that")
    asker.say("  (p2pd init --force replaces it)")
    return False


def _tracker(asker: Asker) -> str:
    while True:
        answer = asker.line("Tracker host [localhost]: ").strip() or "localhost"
        try:
            parse_endpoint(answer, config.TRACKER_PORT)
        except Fault as fault:
            _again(asker, fault)
            continue
        return answer


def _listen(asker: Asker, role: str) -> str:
    while True:
        answer = asker.line(f"{role.capitalize()} port [{PORTS[role]}]: ").strip() or str(PORTS[role])
        try:
            endpoint = parse_listen(answer, PORTS[role])
            _try(endpoint)
        except Fault as fault:
            _again(asker, fault)
            continue
        return answer


def _try(endpoint: Endpoint) -> None:
    """Raises Fault network when nothing can listen there now."""
    if not endpoint.port:
        return
    try:
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((endpoint.host, endpoint.port))
            probe.listen(1)
    except OSError as error:
        where = f"{endpoint.host}:{endpoint.port}" if endpoint.host else f"port {endpoint.port}"
        why = (error.strerror or str(error)).lower()
        raise Fault("network", f"cannot listen on {where}: {why}", "choose another port") from error


def _again(asker: Asker, fault: Fault) -> None:
    asker.say(f"  {fault.message}" + (f": {fault.hint}" if fault.hint else ""))


# -- making -----------------------------------------------------------------------------------------------


def make(plan: Plan, file: Path | None, *, force: bool = False, new: bool = False) -> Made:
    """Stores the key in the home and writes the file of settings (None: no file). `new`: a new invite, though a key may be kept.

    Raises Fault exists for what would be written over, refused when a daemon runs in that home, storage, auth, usage.
    """
    if file is not None and not force and os.path.lexists(file):
        hint = "p2pd init --force writes a new one and keeps the old one beside it"
        raise Fault("exists", f"there is already {file}", hint)
    invite = None
    with HomeLock(plan.home):
        ring = secrets.load_ring(plan.home, plan.network) if not force else _ring(plan.home, plan.network)
        password = plan.password
        others = [home for home in kept(plan.network, plan.values) if home != plan.home]
        if new or (password is None and ring is None and not others):
            password = invite = make_invite(os.urandom(16))
        elif password is None and ring is None:
            other = secrets.load_ring(others[0], plan.network)
            assert other is not None
            secrets.store_ring(plan.home, other)
        if password is not None:
            check_password(password, plan.allow_weak)
            if ring is not None and not force and not secrets.is_of(ring, password):
                raise Fault(
                    "exists", f"{plan.home} has the key of another password", "--force replaces that key"
                )
            source = secrets.PasswordSource(ask=True, allow_weak=plan.allow_weak, epoch=plan.epoch)
            secrets.network_ring(plan.home, plan.network, source, {}, lambda _: password)
        try:
            moved = None if file is None else _write(plan, file, force)
        except Fault as fault:
            return Made(None, invite, trouble=fault)
    return Made(file, invite, moved)


def _write(plan: Plan, file: Path, force: bool) -> Path | None:
    moved = None
    if force and os.path.lexists(file):
        moved = _free_name(file)
        try:
            os.link(file, moved, follow_symlinks=False)
            file.unlink()
        except OSError as error:
            raise Fault("storage", f"cannot move {file} away: {error.strerror}") from error
    create_private(file, plan.document().encode("utf-8"))
    return moved


def _free_name(file: Path) -> Path:
    names = (file.with_name(f"{file.name}.old{number or ''}") for number in range(1000))
    return next(name for name in names if not os.path.lexists(name))
