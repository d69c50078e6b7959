"""Parameters of the control methods (docs/control-api.md), typed and ranged. What does not fit is Fault usage."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from protocol.control import UPGRADE_HINT
from protocol.display import is_utf8, quoted
from protocol.errors import Fault
from protocol.limits import (
    CONTROL_PAGE,
    EVENTS_WAIT_SECONDS,
    LOGS_WAIT_SECONDS,
    MAX_ARRAY,
    MAX_FILE,
    MAX_QUERY,
    MAX_TERMS,
)
from protocol.version import VERSION

T = TypeVar("T", bound=Struct)

LOCAL = {"path", "directory", "file", "prefix", "name", "ref", "refs", "value"}
"""Parameters that may be names of this machine's files, whose octets need not be UTF-8; or are checked where they are understood."""

Text = Annotated[str, Meta(min_length=1, max_length=4096)]
Path = Annotated[str, Meta(pattern=r"^/", max_length=4096)]
Glob = Annotated[str, Meta(min_length=1, max_length=1024, pattern=r"^[^\n]*\Z")]
PageSize = Annotated[int, Meta(ge=1, le=CONTROL_PAGE)]
Rate = Annotated[int, Meta(ge=0, le=2**53)]
Octets = Annotated[int, Meta(ge=0, le=MAX_FILE)]


class Nothing(Struct, forbid_unknown_fields=True):
    """ping, version, status, shutdown."""


class Add(Struct, forbid_unknown_fields=True):
    """add"""

    path: Path
    name: Annotated[str, Meta(max_length=255)] | None = None
    wait: bool | None = True
    recursive: bool | None = False
    excludes: Annotated[list[Glob], Meta(max_length=100)] | None = None
    hidden: bool | None = False
    dry_run: bool | None = False


class Rescan(Struct, forbid_unknown_fields=True):
    """rescan"""

    path: Path | None = None


class Ref(Struct, forbid_unknown_fields=True):
    """remove, info"""

    ref: Text


class Page(Struct, forbid_unknown_fields=True):
    """list, all_files"""

    cursor: str | None = None
    limit: PageSize | None = None


class Transfers(Struct, forbid_unknown_fields=True):
    """transfers"""

    states: Annotated[list[Annotated[str, Meta(max_length=32)]], Meta(max_length=16)] | None = None
    cursor: str | None = None
    limit: PageSize | None = None


class Search(Struct, forbid_unknown_fields=True):
    """search"""

    text: Text
    ext: Annotated[str, Meta(max_length=32)] | None = None
    min_size_bytes: Octets | None = None
    max_size_bytes: Octets | None = None
    sort: str | None = None
    without: (
        Annotated[list[Annotated[str, Meta(max_length=MAX_QUERY)]], Meta(max_length=MAX_TERMS)] | None
    ) = None
    cursor: str | None = None
    limit: PageSize | None = None


class Complete(Struct, forbid_unknown_fields=True):
    """complete"""

    kind: Literal["shared", "found"]
    text: Annotated[str, Meta(max_length=4096)]
    limit: PageSize | None = None


class Peers(Struct, forbid_unknown_fields=True):
    """peers"""

    ref: Text | None = None
    cursor: str | None = None
    limit: PageSize | None = None


class Download(Struct, forbid_unknown_fields=True):
    """download"""

    ref: Text
    directory: Path
    file: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    prefix: Annotated[str, Meta(max_length=64)] | None = None
    exists: str | None = None
    share: bool | None = None
    limit_bytes_per_s: Rate | None = None


class Limit(Struct, forbid_unknown_fields=True):
    """limit"""

    direction: Literal["up", "down"] | None = None
    limit_bytes_per_s: Rate | None = None
    default: bool | None = None


TransferId = Annotated[str, Meta(max_length=24)]


class Transfer(Struct, forbid_unknown_fields=True):
    """pause, resume, retry, cancel"""

    transfer: TransferId


class Wait(Struct, forbid_unknown_fields=True):
    """wait"""

    transfer: TransferId | None = None
    any: Annotated[list[TransferId], Meta(min_length=1, max_length=MAX_ARRAY)] | None = None
    patient: bool | None = True


class Watch(Struct, forbid_unknown_fields=True):
    """watch"""

    states: Annotated[list[Annotated[str, Meta(max_length=32)]], Meta(max_length=16)] | None = None
    interval_s: Annotated[float, Meta(ge=0.2, le=3600.0)] | None = None


class Verify(Struct, forbid_unknown_fields=True):
    """verify"""

    refs: Annotated[list[Text], Meta(max_length=MAX_ARRAY)] | None = None
    all: bool | None = False
    repair: bool | None = False
    restore_changed: bool | None = False


class Events(Struct, forbid_unknown_fields=True):
    """events"""

    cursor: Annotated[str, Meta(max_length=64)] | None = None
    kinds: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(min_length=1, max_length=64)] | None = (
        None
    )
    limit: PageSize | None = None
    wait_s: Annotated[float, Meta(ge=0.0, le=EVENTS_WAIT_SECONDS)] | None = None


class Queue(Struct, forbid_unknown_fields=True):
    """queue"""

    max_active: Annotated[int, Meta(ge=1, le=1000)] | None = None


class Stream(Struct, forbid_unknown_fields=True):
    """stream"""

    ref: Text
    limit_bytes_per_s: Rate | None = None


class StreamStatus(Struct, forbid_unknown_fields=True):
    """stream_status"""

    stream: Annotated[str, Meta(max_length=24)]
    wait: bool | None = None


class Rotate(Struct, forbid_unknown_fields=True):
    """rotate"""

    action: Literal["status", "begin", "finish", "abort"] | None = "status"
    password: Annotated[str, Meta(max_length=4096)] | None = None
    invite: bool | None = False
    overlap_s: Annotated[float, Meta(ge=0)] | None = None
    epoch: Annotated[int, Meta(ge=0, le=255)] | None = None
    allow_weak: bool | None = False


class RotateDevices(Struct, forbid_unknown_fields=True):
    """rotate_devices"""

    all: bool | None = False
    cursor: str | None = None
    limit: PageSize | None = None


class Config(Struct, forbid_unknown_fields=True):
    """config"""

    keys: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=MAX_ARRAY)] | None = None


class ConfigSet(Struct, forbid_unknown_fields=True):
    """config_set"""

    key: Annotated[str, Meta(max_length=64)]
    value: (
        Annotated[str, Meta(max_length=4096)]
        | Annotated[list[Annotated[str, Meta(max_length=4096)]], Meta(max_length=MAX_ARRAY)]
    )


class ConfigUnset(Struct, forbid_unknown_fields=True):
    """config_unset"""

    key: Annotated[str, Meta(max_length=64)]


class Logs(Struct, forbid_unknown_fields=True):
    """logs"""

    lines: Annotated[int, Meta(ge=0, le=CONTROL_PAGE)] | None = None
    after: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    level: Literal["debug", "info", "warning", "error"] | None = None
    wait_s: Annotated[float, Meta(ge=0.0, le=LOGS_WAIT_SECONDS)] | None = None


def read(kind: type[T], params: dict[str, Any]) -> T:
    """`params` as `kind`. Raises Fault usage that names the parameter, version for one that this release does not have.

    A parameter that is not known and nil says nothing: a newer client whose user did not ask for what is new.
    """
    known: tuple[str, ...] = kind.__struct_fields__
    said = {name: value for name, value in params.items() if name in known or value is not None}
    for name in said:
        if name not in known:
            raise Fault(
                "version",
                f"this daemon does not know the parameter {name[:32]!r}",
                UPGRADE_HINT,
                {"parameter": name[:32], "daemon_version": VERSION},
            )
    try:
        read = msgspec.convert(said, kind)
    except msgspec.ValidationError as error:
        raise Fault("usage", f"bad parameter: {error}") from error
    for name in said.keys() - LOCAL:
        for text in said[name] if isinstance(said[name], list) else [said[name]]:
            if isinstance(text, str) and not is_utf8(text):
                raise Fault("usage", f"{quoted(text)} is not UTF-8")
    return read


def check_query(text: str) -> str:
    """A search text within the limit. Raises Fault usage."""
    if not text.strip():
        raise Fault("usage", "an empty search", "p2pctl all_files lists everything")
    if len(text.encode("utf-8", "replace")) > MAX_QUERY:
        raise Fault("usage", f"a search text has at most {MAX_QUERY} octets", "use fewer words")
    return text
