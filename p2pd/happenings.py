"""What happens in a daemon, as small frozen types: the kinds of event that the control API tells of.

The rule: each is named as what happened, carries plain values only (text, numbers, maps of them), and holds nothing secret. The table in
docs/control-api.md is made from this file: the docstring of a class is the meaning of its kind, its fields are the fields. A kind
or a field may be added, never renamed or removed. Knows nobody.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from protocol.errors import Fault


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened. `KIND` is its name for people and programs."""

    KIND: ClassVar[str] = ""


def ignored(happening: Happening) -> None:
    """For parts that nobody listens to."""


@dataclass(frozen=True, slots=True)
class DaemonStarted(Happening):
    """everything listens and answers"""

    KIND = "daemon.started"
    version: str
    pid: int
    roles: list[str]


@dataclass(frozen=True, slots=True)
class DaemonStopping(Happening):
    """the end begins; nothing follows but what ends with it"""

    KIND = "daemon.stopping"
    pid: int


@dataclass(frozen=True, slots=True)
class ConfigReloaded(Happening):
    """settings were read again; `changed` are the keys that hold from now on, `waiting` those that need a restart"""

    KIND = "config.reloaded"
    changed: list[str]
    waiting: list[str]


@dataclass(frozen=True, slots=True)
class ShareAdded(Happening):
    """a file or folder is hashed and shared (`files` nil for a file); `origin` is `add` or `download`"""

    KIND = "share.added"
    id: str
    name: str
    path: str
    size_bytes: int
    files: int | None
    origin: str


@dataclass(frozen=True, slots=True)
class ShareChanged(Happening):
    """what is shared there has other octets now, and another id"""

    KIND = "share.changed"
    id: str
    previous_id: str
    name: str
    path: str
    size_bytes: int
    files: int | None


@dataclass(frozen=True, slots=True)
class ShareWithdrawn(Happening):
    """it is not served for now; `state` as in `list`, `reason` says why"""

    KIND = "share.withdrawn"
    id: str | None
    name: str
    path: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class ShareRestored(Happening):
    """it is served again, as it was"""

    KIND = "share.restored"
    id: str
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class ShareRemoved(Happening):
    """it is shared no more because somebody asked for that"""

    KIND = "share.removed"
    id: str | None
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class ShareFailed(Happening):
    """it could not be hashed, so it is not shared"""

    KIND = "share.failed"
    name: str
    path: str
    error: dict[str, str]


@dataclass(frozen=True, slots=True)
class TransferCreated(Happening):
    """a download was asked for"""

    KIND = "transfer.created"
    transfer: str
    id: str
    name: str
    path: str
    size_bytes: int
    files: int | None


@dataclass(frozen=True, slots=True)
class TransferState(Happening):
    """a download went from one state to another, none of them final; `error` says why it waits"""

    KIND = "transfer.state"
    transfer: str
    name: str
    state: str
    previous: str
    error: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class TransferDone(Happening):
    """a download is whole, verified and in its place"""

    KIND = "transfer.done"
    transfer: str
    id: str
    name: str
    path: str
    size_bytes: int
    files: int | None
    duration_s: float
    sources: int


@dataclass(frozen=True, slots=True)
class TransferFailed(Happening):
    """a download ended without its file and is not tried again by itself"""

    KIND = "transfer.failed"
    transfer: str
    id: str
    name: str
    path: str
    error: dict[str, str]


@dataclass(frozen=True, slots=True)
class TransferCancelled(Happening):
    """a download was given up by somebody"""

    KIND = "transfer.cancelled"
    transfer: str
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class TrackerConnected(Happening):
    """a tracker took our announcement; `peers` and `files` are what it knows"""

    KIND = "tracker.connected"
    address: str
    peers: int
    files: int


@dataclass(frozen=True, slots=True)
class TrackerLost(Happening):
    """a tracker is not connected, or not any more; `state` as in `status`"""

    KIND = "tracker.lost"
    address: str
    state: str
    error: dict[str, str]


@dataclass(frozen=True, slots=True)
class PeerBanned(Happening):
    """an address, network or device is refused for so long (nil: for good); `cause` as in `bans`"""

    KIND = "peer.banned"
    subject: str
    duration_s: float | None
    cause: str


@dataclass(frozen=True, slots=True)
class PeerUnbanned(Happening):
    """somebody lifted a ban"""

    KIND = "peer.unbanned"
    subject: str


@dataclass(frozen=True, slots=True)
class KeyChanged(Happening):
    """another key of the swarm holds: a rotation began, ended or was taken back; `previous_epoch` is nil when only one is good"""

    KIND = "key.changed"
    epoch: int
    key_check: str
    previous_epoch: int | None


@dataclass(frozen=True, slots=True)
class LimitChanged(Happening):
    """another limit of bandwidth holds (nil: none); `origin` is `settings` or `limit`"""

    KIND = "limit.changed"
    direction: str
    limit_bytes_per_s: int | None
    origin: str


@dataclass(frozen=True, slots=True)
class QueueChanged(Happening):
    """so many downloads may run at a time from now on"""

    KIND = "queue.changed"
    max_active: int


@dataclass(frozen=True, slots=True)
class StreamEnded(Happening):
    """a stream is over; `state` as in `stream_status`"""

    KIND = "stream.ended"
    stream: str
    id: str
    name: str
    state: str
    sent_bytes: int
    error: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class HookStarted(Happening):
    """a hook's program runs"""

    KIND = "hook.started"
    hook: str
    transfer: str
    pid: int


@dataclass(frozen=True, slots=True)
class HookDone(Happening):
    """a hook's program ended with status 0"""

    KIND = "hook.done"
    hook: str
    transfer: str
    exit: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class HookFailed(Happening):
    """a hook's program ended otherwise (`exit` is nil when it was ended by a signal, or never ran); it is not run again"""

    KIND = "hook.failed"
    hook: str
    transfer: str
    exit: int | None
    duration_s: float
    reason: str


ALL: tuple[type[Happening], ...] = (
    DaemonStarted,
    DaemonStopping,
    ConfigReloaded,
    ShareAdded,
    ShareChanged,
    ShareWithdrawn,
    ShareRestored,
    ShareRemoved,
    ShareFailed,
    TransferCreated,
    TransferState,
    TransferDone,
    TransferFailed,
    TransferCancelled,
    TrackerConnected,
    TrackerLost,
    PeerBanned,
    PeerUnbanned,
    KeyChanged,
    LimitChanged,
    QueueChanged,
    StreamEnded,
    HookStarted,
    HookDone,
    HookFailed,
)
"""In the order of the table."""

KINDS: dict[str, type[Happening]] = {kind.KIND: kind for kind in ALL}


def fields(happening: Happening) -> dict[str, Any]:
    """The fields of one, by name."""
    return {field.name: getattr(happening, field.name) for field in dataclasses.fields(happening)}


def error_of(fault: Fault) -> dict[str, str]:
    """A Fault as the `error` of an event."""
    return {"code": fault.code, "message": fault.message, "hint": fault.hint}
