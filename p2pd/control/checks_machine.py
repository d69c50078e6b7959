"""Checks of the machine: keys, rights, disks, descriptors, listeners. See diagnosis.py."""

from __future__ import annotations

import asyncio
import os
import resource
import shlex
import shutil
import stat
import time
from pathlib import Path

from p2pd.control.diagnosis import FAIL, OK, WARN, Finding, Patient
from p2pd.control.items import timestamp
from p2pd.net.addresses import LOOPBACK, Endpoint, is_loopback
from p2pd.peer.service import PeerService
from p2pd.secrets import DEVICE_FILE, NETWORK_FILE, TRACKER_DEVICE_FILE
from protocol import lanes
from protocol.display import safe

PRIVATE_FILES = (NETWORK_FILE, DEVICE_FILE, TRACKER_DEVICE_FILE, "peer.db", "tracker.db")
MAX_LOOKED_AT = 20_000  # shares
LOOK_SECONDS = 5.0  # at them: a drive may be slow
CONNECT_SECONDS = 2.0
CPUINFO = Path("/proc/cpuinfo")
DESCRIPTORS = 2048  # what the connections at their limits need, and files
SHOWN = 3


async def key(patient: Patient) -> list[Finding]:
    """Which key the daemon holds."""
    ring = patient.keyring.ring
    current = ring.current
    message = f"network {current.network}, epoch {current.epoch}, key check {current.check_value}"
    found = [Finding(OK, safe(message))]
    if ring.previous is None:
        return found
    old = sum(seen.on_old for seen in patient.keyring.sightings())
    until = f"the older password is good until {timestamp(ring.ends_at)}"
    if old:
        hint = "p2pctl rotate --status shows them; give them the new password"
        found.append(Finding(WARN, f"{until}; {_count(old, 'device')} seen here still on it", hint))
    else:
        found.append(Finding(OK, f"{until}; nobody was seen here with it"))
    return found


async def home(patient: Patient) -> list[Finding]:
    """The home is private and can be written."""
    return await asyncio.to_thread(_home, patient.settings.home)


def _home(path: Path) -> list[Finding]:
    shown = safe(str(path))
    try:
        status = path.stat()
    except OSError as error:
        return [
            Finding(
                FAIL, f"the home {shown} is not there: {error.strerror}", "bring it back, and restart p2pd"
            )
        ]
    found = []
    if status.st_mode & 0o077:
        found.append(
            Finding(FAIL, f"others can look into the home {shown}", f"chmod 700 {shlex.quote(str(path))}")
        )
    if not os.access(path, os.W_OK | os.X_OK):
        found.append(Finding(FAIL, f"the home {shown} cannot be written", "give it back to the user of p2pd"))
    for name in PRIVATE_FILES:
        file = path / name
        try:
            mode = file.stat().st_mode
        except OSError:
            continue
        if mode & 0o077:
            found.append(
                Finding(FAIL, f"others can use {safe(str(file))}", f"chmod 600 {shlex.quote(str(file))}")
            )
    return found or [Finding(OK, f"{shown} is private and can be written")]


async def downloads(patient: Patient) -> list[Finding]:
    """Where downloads under way go can be written."""
    return await asyncio.to_thread(_downloads, _directories(patient))


def _downloads(directories: list[str]) -> list[Finding]:
    found = []
    for directory in directories:
        shown = safe(directory)
        if not os.path.isdir(directory):
            hint = "bring its drive back; downloads to it go on by themselves"
            found.append(Finding(FAIL, f"{shown}, where downloads go, is not there", hint))
        elif not os.access(directory, os.W_OK | os.X_OK):
            found.append(
                Finding(FAIL, f"{shown}, where downloads go, cannot be written", "check its owner and mode")
            )
    if found:
        return found
    if not directories:
        return [Finding(OK, "no download is under way")]
    return [
        Finding(
            OK,
            f"{_count(len(directories), 'directory', 'directories')} of downloads under way can be written",
        )
    ]


def _directories(patient: Patient) -> list[str]:
    if patient.peer is None:
        return []
    rows = patient.peer.store.list_downloads()
    return sorted({row.directory for row in rows if not row.final})


async def shares(patient: Patient) -> list[Finding]:
    """What is shared can be read."""
    assert patient.peer is not None
    return await asyncio.to_thread(_shares, patient.peer)


def _shares(peer: PeerService) -> list[Finding]:
    rows = peer.store.list_shares(MAX_LOOKED_AT)
    folders = peer.store.list_folders()
    bad: list[str] = []
    looked, deadline = 0, time.monotonic() + LOOK_SECONDS
    for share in rows:
        if time.monotonic() > deadline:
            break
        looked += 1
        if why := _unreadable(share.path):
            bad.append(f"{safe(share.path)} ({why})")
    for folder in folders:
        looked += 1
        if not os.path.isdir(folder.path) or not os.access(folder.path, os.R_OK | os.X_OK):
            bad.append(f"{safe(folder.path)} (not a folder that can be read)")
    if bad:
        more = f", and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        message = f"{len(bad)} of {looked} shared cannot be read: {', '.join(bad[:SHOWN])}{more}"
        return [
            Finding(
                FAIL, message, "bring them back or make them readable for p2pd; p2pctl remove forgets them"
            )
        ]
    if looked < len(rows) + len(folders):
        return [Finding(OK, f"the first {looked} of {len(rows) + len(folders)} shared can be read")]
    return [Finding(OK, f"{_count(looked, 'shared file or folder', 'shared files and folders')} can be read")]


def _unreadable(path: str) -> str:
    """Why a file cannot be read; "" when it can."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return error.strerror or "cannot be opened"
    try:
        return "" if stat.S_ISREG(os.fstat(fd).st_mode) else "not a file any more"
    finally:
        os.close(fd)


async def space(patient: Patient) -> list[Finding]:
    """Disks have more room than must stay free."""
    places = [str(patient.settings.home), *_directories(patient)]
    floor = patient.settings.free_floor if patient.peer is None else patient.peer.space.floor
    return await asyncio.to_thread(_space, places, floor)


def _space(places: list[str], floor: int) -> list[Finding]:
    found, seen = [], set()
    for place in places:
        try:
            device = os.stat(place).st_dev
            free = shutil.disk_usage(place).free
        except OSError:
            continue  # other checks say so
        if device in seen:
            continue
        seen.add(device)
        message = f"{_mib(free)} are free for {safe(place)}; {_mib(floor)} stay free"
        if free < floor:
            found.append(
                Finding(FAIL, message, "make room: downloads wait until there is, or lower peer.free_floor")
            )
        elif free < 2 * floor:
            found.append(Finding(WARN, message, "make room soon"))
        else:
            found.append(Finding(OK, message))
    return found


async def descriptors(patient: Patient) -> list[Finding]:
    """Enough file descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return [Finding(OK, "no limit of file descriptors")]
    try:
        used = len(os.listdir("/proc/self/fd"))
    except OSError:
        used = 0
    message = f"{used} of {soft} file descriptors are in use"
    if used > 0.9 * soft:
        return [Finding(FAIL, message, "raise LimitNOFILE of the service, or ulimit -n, and restart p2pd")]
    if soft < DESCRIPTORS:
        return [Finding(WARN, f"{message}; with many peers {DESCRIPTORS} may be needed", "raise ulimit -n")]
    return [Finding(OK, message)]


async def sealing(patient: Patient) -> list[Finding]:
    """Is there the native part of sealing, where there could be?"""
    if lanes.native is not None:
        return [Finding(OK, "blocks are sealed and opened several at a time, by the native part")]
    message = "blocks are sealed and opened one at a time, without the native part"
    if not _can_build():
        return [Finding(OK, f"{message}: it is for x86-64 processors with AES and SHA instructions")]
    hint = "transfers take a third less of the processor with it: install a C compiler and Python's headers, then p2pd again"
    return [Finding(WARN, message, hint)]


def _can_build() -> bool:
    if os.uname().machine != "x86_64":
        return False
    try:
        flags = CPUINFO.read_text(errors="replace").split()
    except OSError:
        return False
    return {"aes", "sha_ni", "ssse3", "sse4_1"} <= set(flags)


async def listening(patient: Patient) -> list[Finding]:
    """The listeners take connections, where others can reach them."""
    found = []
    for role, endpoint in patient.listening.items():
        where = f"the {role} listens on {endpoint}"
        if not await _answers(endpoint):
            hint = "restart p2pd; its log says more"
            found.append(Finding(FAIL, f"{where}, and takes no connection there", hint))
        elif is_loopback(endpoint.host) and _has_neighbours(patient):
            hint = "leave the host out of --listen, so that other machines reach it"
            found.append(Finding(WARN, f"{where}: only this machine reaches it", hint))
        else:
            found.append(Finding(OK, where))
    return found


def _has_neighbours(patient: Patient) -> bool:
    """Does the swarm go beyond this machine, as far as this peer knows?"""
    trackers = [] if patient.peer is None else patient.peer.trackers
    return any(not is_loopback(tracker.endpoint.host) for tracker in trackers)


async def _answers(endpoint: Endpoint) -> bool:
    host = endpoint.host or LOOPBACK
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, endpoint.port), CONNECT_SECONDS)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _count(number: int, noun: str, nouns: str = "") -> str:
    return f"{number} {noun if number == 1 else nouns or noun + 's'}"


def _mib(octets: int) -> str:
    return f"{octets / 2**30:.1f} GiB" if octets >= 2**30 else f"{octets // 2**20} MiB"
