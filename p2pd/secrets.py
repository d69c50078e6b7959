"""The daemon's secrets: where the password comes from, and the two key files of the home.

The rule: a password is never taken from the command line or a plain environment variable, and never stored;
what is stored is the network key derived from it, and the device key, each in a file of its own, 0600,
written whole or not at all. A password that is given explicitly replaces the stored key.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pd.files import write_private
from p2pd.logs import register_secret
from p2pd.net.keyring import Ring, fingerprint
from protocol.display import safe
from protocol.errors import Fault, LocalProtocolError
from protocol.keys import DeviceKey, NetworkSecret, check_password, derive_network_key

log = logging.getLogger("p2pd.secrets")

NETWORK_FILE = "network.key"
DEVICE_FILE = "device.key"
TRACKER_DEVICE_FILE = (
    "tracker-device.key"  # of a tracker inside a peer: a device refuses to speak with itself
)
CREDENTIAL = "p2pd-password"  # its name in the systemd credentials directory
COMMAND_SECONDS = 30.0
MAX_PASSWORD = 4096  # octets read from a file, descriptor or command
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class PasswordSource:
    """What the user gave on the command line or in the settings. `ask`: prompt although a key is stored; `epoch`: which epoch of the
    network the password is of, if told."""

    file: str = ""
    fd: int | None = None
    command: str = ""
    ask: bool = False
    allow_weak: bool = False
    epoch: int | None = None


def network_ring(
    home: Path,
    network: str,
    source: PasswordSource,
    environ: Mapping[str, str] = os.environ,
    prompt: Callable[[str], str] | None = None,
) -> Ring:
    """The membership of this daemon. In order: what `source` names, the systemd credential, the stored keys,
    a hidden prompt.

    A password replaces the stored keys, unless it is that of one of them or of one that a rotation has ended: a password
    file that was forgotten in a rotation undoes nothing. Raises Fault usage (unreadable, too weak, nothing to ask),
    storage, auth (others can read the stored keys).
    """
    password = given(source, environ)
    if password is None and not source.ask:
        stored = load_ring(home, network)
        if stored is not None:
            return stored
    if password is None:
        password = _ask(prompt)
    check_password(password, source.allow_weak)
    stored = _stored(home, network)
    derived: dict[int, NetworkSecret] = {}

    def derive(epoch: int) -> NetworkSecret:
        if epoch not in derived:
            derived[epoch] = NetworkSecret(derive_network_key(password, network, epoch), network, epoch)
        return derived[epoch]

    if stored is not None and _known(stored, derive):
        return stored
    epoch = source.epoch if source.epoch is not None else stored.current.epoch if stored is not None else 0
    ring = Ring(derive(epoch))
    store_ring(home, ring)
    return ring


def _known(ring: Ring, derive: Callable[[int], NetworkSecret]) -> bool:
    """Is this the password of a key that we have, or that a rotation has ended?"""
    if derive(ring.current.epoch) == ring.current:
        return True
    if ring.previous is not None and derive(ring.previous.epoch) == ring.previous:
        log.warning(
            "! the password given is the older one of a rotation that is under way: it changes nothing"
        )
        return True
    if any(fingerprint(derive(epoch)) == kept for epoch, kept in ring.retired):
        log.warning(
            "! the password given has been replaced by a rotation: the stored key is used; change the password file"
        )
        return True
    return False


def is_of(ring: Ring, password: str) -> bool:
    """Is this the password of one of these keys? Raises Fault usage for a mistyped invite."""
    keys = [key for key in (ring.current, ring.previous) if key is not None]
    return any(derive_network_key(password, key.network, key.epoch) == key.key for key in keys)


def _stored(home: Path, network: str) -> Ring | None:
    """The stored keys, beside a given password: it makes damaged ones anew."""
    try:
        return load_ring(home, network)
    except Fault as fault:
        if fault.code != "storage":
            raise
        log.warning("! %s: made anew", fault.message)
        return None


def given(source: PasswordSource, environ: Mapping[str, str]) -> str | None:
    """The password that `source` or the systemd credential gives; None when neither does. Raises Fault usage."""
    if source.fd is not None:
        return _text(_read_fd(source.fd), f"descriptor {source.fd}")
    if source.file:
        return _text(_read_file(Path(source.file).expanduser()), source.file)
    if source.command:
        return _text(_run(source.command), "the password command")
    if not source.ask and (directory := environ.get("CREDENTIALS_DIRECTORY")):
        path = Path(directory) / CREDENTIAL
        # One that is blank is what a unit gives in the place of a file that is not there (SetCredential=).
        if path.exists() and (octets := _read_file(path, private=False)).strip():
            return _text(octets, str(path))
    return None


def _read_fd(fd: int) -> bytes:
    try:
        with os.fdopen(fd, "rb") as stream:
            return stream.read(MAX_PASSWORD + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no such descriptor"
        raise Fault(
            "usage", f"cannot read the password from descriptor {fd}: {why}", "open it for p2pd: 3<FILE"
        ) from error


def _read_file(path: Path, *, private: bool = True) -> bytes:
    shown = safe(str(path))
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            # systemd makes its credentials readable for the service alone, by means that the mode does not show.
            if private and stat.S_ISREG(status.st_mode):
                if status.st_mode & 0o077:
                    raise Fault(
                        "usage",
                        f"others can read the password file {shown}",
                        f"chmod 600 {shlex.quote(str(path))}",
                    )
                if status.st_uid not in (os.geteuid(), 0):
                    raise Fault(
                        "usage",
                        f"the password file {shown} belongs to another user",
                        "make your own copy of it",
                    )
            return stream.read(MAX_PASSWORD + 1)
    except OSError as error:
        raise Fault("usage", f"cannot read the password file {shown}: {error.strerror}") from error


def _run(command: str) -> bytes:
    try:
        words = shlex.split(command)
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=COMMAND_SECONDS, check=False
        )
    except (OSError, ValueError, IndexError) as error:
        why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        hint = "it is run without a shell; write sh -c '...' if it needs one"
        raise Fault("usage", f"cannot run the password command: {safe(why)}", hint) from error
    except subprocess.TimeoutExpired as error:
        raise Fault("usage", f"the password command did not end within {COMMAND_SECONDS:.0f} s") from error
    if done.returncode != 0:
        raise Fault("usage", f"the password command ended with status {done.returncode}")
    return done.stdout


def _text(octets: bytes, where: str) -> str:
    if len(octets) > MAX_PASSWORD:
        raise Fault("usage", f"the password from {safe(where)} is over {MAX_PASSWORD} octets")
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Fault("usage", f"the password from {safe(where)} is not UTF-8") from error
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise Fault("usage", f"the password from {safe(where)} is empty")
    return text


def _ask(prompt: Callable[[str], str] | None) -> str:
    if prompt is None:
        if not sys.stdin.isatty():
            raise Fault(
                "usage",
                "no password was given and there is no terminal to ask at",
                "use --password-file FILE, --password-command CMD or --password-fd N",
            )
        prompt = getpass.getpass
    try:
        return prompt("Swarm password (same on all machines, case matters): ")
    except EOFError as error:
        raise Fault("usage", "no password was given") from error


# -- key files --------------------------------------------------------------------------------------------


def load_ring(home: Path, network: str) -> Ring | None:
    """The stored keys of this network; None when there are none. Raises Fault when the file is damaged or not private."""
    document = load_document(home / NETWORK_FILE)
    if document is None or document.get("network") != network:
        return None
    try:
        ring = _ring(document, network)
    except (KeyError, ValueError, TypeError, LocalProtocolError) as error:
        raise _damaged(home / NETWORK_FILE, "start with --ask-password to make it anew") from error
    for secret in (ring.current, ring.previous):
        if secret is not None:
            register_secret(secret.key)
    return ring


def _ring(document: Any, network: str) -> Ring:
    previous = document.get("previous")
    return Ring(
        _secret(document, network),
        None if previous is None else _secret(previous, network),
        float(document.get("began_at", 0.0)),
        float(document.get("ends_at", 0.0)),
        tuple((int(epoch), str(kept)) for epoch, kept in document.get("retired", ())),
    )


def _secret(document: Any, network: str) -> NetworkSecret:
    try:
        return NetworkSecret(bytes.fromhex(str(document["key"])), network, int(str(document["epoch"])))
    except Fault as fault:
        raise ValueError(fault.message) from fault


def store_ring(home: Path, ring: Ring) -> None:
    """Replaces the stored keys, all or nothing. From here on the log masks them."""
    current = ring.current
    document: dict[str, object] = {
        "network": current.network,
        "epoch": current.epoch,
        "key": current.key.hex(),
    }
    register_secret(current.key)
    if ring.previous is not None:
        register_secret(ring.previous.key)
        document["previous"] = {"epoch": ring.previous.epoch, "key": ring.previous.key.hex()}
        document |= {"began_at": ring.began_at, "ends_at": ring.ends_at}
    if ring.retired:
        document["retired"] = [list(pair) for pair in ring.retired]
    store_document(home / NETWORK_FILE, document)


def load_or_make_device_key(home: Path, name: str = DEVICE_FILE) -> DeviceKey:
    """This device's key, made at the first start."""
    document = load_document(home / name)
    if document is None:
        device = DeviceKey.generate(os.urandom(32))
        store_document(home / name, {"seed": device.seed.hex()})
        register_secret(device.seed)
        return device
    try:
        device = DeviceKey.from_seed(bytes.fromhex(str(document["seed"])))
    except (KeyError, ValueError, LocalProtocolError) as error:
        raise _damaged(home / name, "restore it, or move it away to become a new device") from error
    register_secret(device.seed)
    return device


def load_document(path: Path, most: int = MAX_PASSWORD) -> dict[str, object] | None:
    """A private JSON file of at most `most` octets; None when there is none. Raises Fault storage, auth (others can read it)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Fault("storage", f"cannot read {safe(str(path))}: {error.strerror}") from error
    with os.fdopen(fd, "rb") as stream:
        if os.fstat(stream.fileno()).st_mode & 0o077:
            raise Fault("auth", f"others can read {safe(str(path))}", f"chmod 600 {shlex.quote(str(path))}")
        octets = stream.read(most)
    try:
        document = json.loads(octets)
    except ValueError as error:
        raise _damaged(path, "restore it, or move it away") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise _damaged(path, "it may be of a newer p2pd")
    return document


def store_document(path: Path, document: dict[str, object]) -> None:
    """Writes the whole file or nothing. Raises Fault storage."""
    write_private(path, json.dumps({"format": _FORMAT, **document}).encode() + b"\n")


def _damaged(path: Path, hint: str) -> Fault:
    return Fault("storage", f"{safe(str(path))} is damaged", hint)
