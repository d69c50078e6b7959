"""The daemon's secrets: where the password comes from, and the two key files of the home.

The rule: a password is never taken from the command line or a plain environment variable, and never stored;
what is stored is the network key derived from it, and the device key, each in a file of its own, 0600,
written whole or not at all. A password that is given explicitly replaces the stored key.
"""

from __future__ import annotations

import getpass
import json
import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from p2pd.files import write_private
from p2pd.logs import register_secret
from protocol.display import safe
from protocol.errors import Fault, LocalProtocolError
from protocol.keys import DeviceKey, NetworkSecret, check_password, derive_network_key

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
    """What the user gave on the command line or in the settings. `ask`: prompt although a key is stored."""

    file: str = ""
    fd: int | None = None
    command: str = ""
    ask: bool = False
    allow_weak: bool = False


def network_secret(
    home: Path,
    network: str,
    source: PasswordSource,
    environ: Mapping[str, str] = os.environ,
    prompt: Callable[[str], str] | None = None,
) -> NetworkSecret:
    """The membership of this daemon. In order: what `source` names, the systemd credential, the stored key,
    a hidden prompt.

    Raises Fault usage (unreadable, too weak, nothing to ask), storage.
    """
    password = _given(source, environ)
    if password is None and not source.ask:
        stored = load_network_key(home, network)
        if stored is not None:
            return stored
    if password is None:
        password = _ask(prompt)
    check_password(password, source.allow_weak)
    secret = NetworkSecret(derive_network_key(password, network, 0), network, 0)
    store_network_key(home, secret)
    return secret


def _given(source: PasswordSource, environ: Mapping[str, str]) -> str | None:
    if source.fd is not None:
        return _text(_read_fd(source.fd), f"descriptor {source.fd}")
    if source.file:
        return _text(_read_file(Path(source.file).expanduser()), source.file)
    if source.command:
        return _text(_run(source.command), "the password command")
    if not source.ask and (directory := environ.get("CREDENTIALS_DIRECTORY")):
        path = Path(directory) / CREDENTIAL
        if path.exists():
            return _text(_read_file(path, private=False), str(path))
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
        raise Fault("usage", f"cannot run the password command: {error}") from error
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


def load_network_key(home: Path, network: str) -> NetworkSecret | None:
    """The stored key of this network; None when there is none. Raises Fault when the file is damaged or not
    private.
    """
    document = _load(home / NETWORK_FILE)
    if document is None or document.get("network") != network:
        return None
    try:
        key = bytes.fromhex(str(document["key"]))
        secret = NetworkSecret(key, network, int(str(document["epoch"])))
    except (KeyError, ValueError, LocalProtocolError) as error:
        raise _damaged(home / NETWORK_FILE, "start with --ask-password to make it anew") from error
    register_secret(key)
    return secret


def store_network_key(home: Path, secret: NetworkSecret) -> None:
    """Replaces the stored key. From here on the log masks it."""
    register_secret(secret.key)
    _store(home / NETWORK_FILE, {"network": secret.network, "epoch": secret.epoch, "key": secret.key.hex()})


def load_or_make_device_key(home: Path, name: str = DEVICE_FILE) -> DeviceKey:
    """This device's key, made at the first start."""
    document = _load(home / name)
    if document is None:
        device = DeviceKey.generate(os.urandom(32))
        _store(home / name, {"seed": device.seed.hex()})
        register_secret(device.seed)
        return device
    try:
        device = DeviceKey.from_seed(bytes.fromhex(str(document["seed"])))
    except (KeyError, ValueError, LocalProtocolError) as error:
        raise _damaged(home / name, "restore it, or move it away to become a new device") from error
    register_secret(device.seed)
    return device


def _load(path: Path) -> dict[str, object] | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Fault("storage", f"cannot read {safe(str(path))}: {error.strerror}") from error
    with os.fdopen(fd, "rb") as stream:
        if os.fstat(stream.fileno()).st_mode & 0o077:
            raise Fault("auth", f"others can read {safe(str(path))}", f"chmod 600 {shlex.quote(str(path))}")
        octets = stream.read(MAX_PASSWORD)
    try:
        document = json.loads(octets)
    except ValueError as error:
        raise _damaged(path, "restore it, or move it away") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise _damaged(path, "it may be of a newer p2pd")
    return document


def _store(path: Path, document: dict[str, object]) -> None:
    write_private(path, json.dumps({"format": _FORMAT, **document}).encode() + b"\n")


def _damaged(path: Path, hint: str) -> Fault:
    return Fault("storage", f"{safe(str(path))} is damaged", hint)
