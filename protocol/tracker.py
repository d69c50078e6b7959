"""The tracker dialect: what a device asks of a tracker and what it is answered.

Requests carry `req`, chosen by the asker, and get exactly one answer that repeats it. Every field is typed
and ranged here, and names are checked while decoding, so a decoded message holds no name that
docs/protocol.md forbids. Knows nothing of addresses beyond their length, of storage, sessions or sockets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Annotated, TypeVar

from msgspec import Meta, Struct

from protocol import codec
from protocol.checks import Clock, ClockIs, Reach, Reached
from protocol.errors import RemoteProtocolError
from protocol.ids import CONTENT_ID_SIZE, DEVICE_ID_SIZE
from protocol.limits import (
    MAX_COLLECTION_ENTRIES,
    MAX_CONTROL_MESSAGE,
    MAX_DEVICES,
    MAX_FETCHING,
    MAX_FILE,
    MAX_FILES,
    MAX_HIT_NAMES,
    MAX_HITS,
    MAX_PATH,
    MAX_PUBLISH_ENTRIES,
    MAX_QUERY,
    MAX_REPLY,
    MAX_SOURCES,
    MAX_TERMS,
)
from protocol.names import check_path
from protocol.wanting import Want, Wanted

EPOCH_SIZE = 8
NO_EPOCH = bytes(EPOCH_SIZE)
"""Share epoch that no device uses: the tracker knows nothing complete of this device."""
MIN_PORT = 1024
MAX_CURSOR = 2048
PLAIN_HITS = 200
"""Most hits that a Search may ask of a tracker without Feature.TERMS."""
MAX_TEXT = 128
_PUBLISH_ROOM = MAX_CONTROL_MESSAGE - 256  # for the lists of a Publish; its other fields need under 64

Request = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Epoch = Annotated[bytes, Meta(min_length=EPOCH_SIZE, max_length=EPOCH_SIZE)]
Revision = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Digest = Annotated[bytes, Meta(min_length=CONTENT_ID_SIZE, max_length=CONTENT_ID_SIZE)]
MaybeDigest = Annotated[bytes, Meta(max_length=CONTENT_ID_SIZE)]
DeviceId = Annotated[bytes, Meta(min_length=DEVICE_ID_SIZE, max_length=DEVICE_ID_SIZE)]
Size = Annotated[int, Meta(ge=0, le=MAX_FILE)]
UnixTime = Annotated[int, Meta(ge=0, le=2**40)]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_PATH)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Host = Annotated[str, Meta(max_length=45)]
Cursor = Annotated[str, Meta(max_length=MAX_CURSOR)]
Seconds = Annotated[int, Meta(ge=0, le=86_400)]
Files = Annotated[int, Meta(ge=0, le=MAX_COLLECTION_ENTRIES)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Parts = Annotated[list[Annotated[str, Meta(min_length=1, max_length=MAX_QUERY)]], Meta(max_length=MAX_TERMS)]


class By(IntEnum):
    """What the text of a Search is."""

    TEXT = 0  # words, each a substring of the name
    ID = 1  # content id in hex, or its first 8 digits and more
    SHA256 = 2  # SHA-256 of the whole file in hex, or its first 8 digits and more (Feature.TERMS)
    NAME = 3  # the exact shared name
    ALL = 4  # no text: everything, in the order of names


class Sort(IntEnum):
    """Order of the hits of a Search by TEXT."""

    RELEVANCE = 0
    SOURCES = 1  # most first
    SIZE = 2  # largest first
    NAME = 3
    AGE = 4  # newest first


class Entry(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One shared content under one name. `name` is a path of components; `added_at` is Unix time in seconds;
    `files`: 0 for a file, else how many files a folder has (then `size` is that of all of them)."""

    content_id: Digest
    sha256: Digest
    size: Size
    name: Name
    added_at: UnixTime
    files: Files = 0


class Gone(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A name under which a content is no longer shared."""

    content_id: Digest
    name: Name


class Hit(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One content: its names (those that match first), how many devices serve it now, newest `added_at`, `files` as
    in Entry."""

    content_id: Digest
    sha256: Digest
    size: Size
    names: Annotated[list[Name], Meta(min_length=1, max_length=MAX_HIT_NAMES)]
    sources: Annotated[int, Meta(ge=0, le=MAX_DEVICES)]
    added_at: UnixTime
    files: Files = 0


class Source(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A device to dial. `host` is an IP literal, to be judged before use."""

    device_id: DeviceId
    host: Host
    port: Annotated[int, Meta(ge=MIN_PORT, le=65_535)]


class Member(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A device of the swarm. `host` is "" and `port` 0 when it cannot be dialled."""

    device_id: DeviceId
    host: Host
    port: Port
    files: Annotated[int, Meta(ge=0, le=MAX_FILES)]


# -- requests ---------------------------------------------------------------------------------------------


class Announce(Struct, frozen=True, array_like=True, tag=16, forbid_unknown_fields=True):
    """I am here. `port` 0: not listening. `host`: declared IP literal, or "" for none."""

    req: Request
    share_epoch: Epoch
    revision: Revision
    port: Port
    host: Host = ""


class Publish(Struct, frozen=True, array_like=True, tag=17, forbid_unknown_fields=True):
    """A batch of changes that takes what the tracker knows from `base_revision` to `revision`.

    `reset`: part of a complete listing, the first part with base 0; `more`: another part of it follows.
    """

    req: Request
    share_epoch: Epoch
    base_revision: Revision
    revision: Revision
    reset: bool
    more: bool
    added: Annotated[list[Entry], Meta(max_length=MAX_PUBLISH_ENTRIES)]
    removed: Annotated[list[Gone], Meta(max_length=MAX_PUBLISH_ENTRIES)]


class Search(Struct, frozen=True, array_like=True, tag=18, forbid_unknown_fields=True):
    """Find contents. Sizes are inclusive, in octets; `ext` without dot; `cursor`: `next` of the last page."""

    req: Request
    by: By
    text: Annotated[str, Meta(max_length=MAX_PATH)] = ""
    ext: Annotated[str, Meta(max_length=32)] = ""
    min_size: Size = 0
    max_size: Size = MAX_FILE
    sort: Sort = Sort.RELEVANCE
    limit: Annotated[int, Meta(ge=1, le=MAX_HITS)] = PLAIN_HITS
    cursor: Cursor = ""


class SearchTerms(Search, frozen=True, array_like=True, tag=24, forbid_unknown_fields=True):
    """A Search by TEXT that says more: names that hold every phrase (adjacent whole words), and none of the words and
    phrases that it is to be without. Only for a tracker with Feature.TERMS.
    """

    phrases: Parts = []
    without: Parts = []
    without_phrases: Parts = []


class Find(Struct, frozen=True, array_like=True, tag=19, forbid_unknown_fields=True):
    """Who serves this content? Answered by Sources, without the asker."""

    req: Request
    content_id: Digest


class Peers(Struct, frozen=True, array_like=True, tag=20, forbid_unknown_fields=True):
    """Who is here (`content_id` empty), or who shares this content. Pages in the order of device ids."""

    req: Request
    content_id: MaybeDigest = b""
    cursor: Cursor = ""


class Bye(Struct, frozen=True, array_like=True, tag=21, forbid_unknown_fields=True):
    """I leave now."""

    req: Request


class Stats(Struct, frozen=True, array_like=True, tag=22, forbid_unknown_fields=True):
    """Figures of the tracker, please."""

    req: Request


class Fetching(Struct, frozen=True, array_like=True, tag=23, forbid_unknown_fields=True):
    """All contents of which I have a part and serve it while I fetch the rest. Answered by Ok.

    Only for a tracker with Feature.FETCHING.
    """

    req: Request
    contents: Annotated[list[Digest], Meta(max_length=MAX_FETCHING)]


# -- answers ----------------------------------------------------------------------------------------------


class Announced(Struct, frozen=True, array_like=True, tag=32, forbid_unknown_fields=True):
    """The lease, when to announce again, what is known of the share (NO_EPOCH and 0: nothing complete)."""

    req: Request
    lease_s: Seconds
    refresh_s: Seconds
    known_epoch: Epoch
    known_revision: Revision
    observed: Host
    peers: Count
    files: Count


class Published(Struct, frozen=True, array_like=True, tag=33, forbid_unknown_fields=True):
    """The batch is applied and stored."""

    req: Request
    revision: Revision


class Hits(Struct, frozen=True, array_like=True, tag=34, forbid_unknown_fields=True):
    """A page. It may hold fewer hits than asked for, even none: only an empty `next` is the end."""

    req: Request
    items: Annotated[list[Hit], Meta(max_length=MAX_HITS)]
    next: Cursor


class Sources(Struct, frozen=True, array_like=True, tag=35, forbid_unknown_fields=True):
    """Devices that serve the content asked for, in random order."""

    req: Request
    items: Annotated[list[Source], Meta(max_length=MAX_SOURCES)]


class PeerList(Struct, frozen=True, array_like=True, tag=36, forbid_unknown_fields=True):
    """A page of members; an empty `next` is the end."""

    req: Request
    items: Annotated[list[Member], Meta(max_length=MAX_SOURCES)]
    next: Cursor


class Refused(Struct, frozen=True, array_like=True, tag=37, forbid_unknown_fields=True):
    """Not done. `code` is of protocol.errors.Refusal; `retry_s` 0: asking again as it is will not help."""

    req: Request
    code: Annotated[int, Meta(ge=1, le=255)]
    retry_s: Seconds = 0
    text: Annotated[str, Meta(max_length=MAX_TEXT)] = ""


class Ok(Struct, frozen=True, array_like=True, tag=38, forbid_unknown_fields=True):
    """Done (Bye, Fetching)."""

    req: Request


class TrackerStats(Struct, frozen=True, array_like=True, tag=39, forbid_unknown_fields=True):
    """Devices with a lease, the entries they share, and requests answered since the tracker started."""

    req: Request
    devices: Count
    files: Count
    announces: Count
    publishes: Count
    searches: Count
    refusals: Count


_Lists = Announced | Published | Hits | Sources | PeerList
_Finds = Search | SearchTerms | Find | Peers
AnyRequest = Announce | Publish | _Finds | Bye | Stats | Fetching | Clock | Reach | Want
AnyReply = _Lists | Refused | Ok | TrackerStats | ClockIs | Reached | Wanted

_requests: codec.Decoder[AnyRequest] = codec.Decoder(AnyRequest, MAX_CONTROL_MESSAGE)
_replies: codec.Decoder[AnyReply] = codec.Decoder(AnyReply, MAX_REPLY)


def decode_request(data: bytes | bytearray | memoryview) -> AnyRequest:
    """What a device sent to the tracker. Raises RemoteProtocolError if any rule of the grammar is broken."""
    message = _requests.decode(data)
    if isinstance(message, Announce | Publish) and message.share_epoch == NO_EPOCH:
        raise RemoteProtocolError("share epoch of zeros")
    if isinstance(message, Publish):
        for entry in message.added:
            check_path(entry.name)
        for gone in message.removed:
            check_path(gone.name)
    elif isinstance(message, Announce):
        if 0 < message.port < MIN_PORT:
            raise RemoteProtocolError("port below 1024")
    elif isinstance(message, Peers) and len(message.content_id) not in (0, CONTENT_ID_SIZE):
        raise RemoteProtocolError("not a content id")
    return message


def decode_reply(data: bytes | bytearray | memoryview) -> AnyReply:
    """What the tracker answered. Raises RemoteProtocolError if any rule of the grammar is broken.

    Hosts are only bounded text here: p2pd.net.addresses.check_dialable judges them before a dial.
    """
    message = _replies.decode(data)
    if isinstance(message, Hits):
        for hit in message.items:
            for name in hit.names:
                check_path(name)
    elif isinstance(message, PeerList):
        for member in message.items:
            if 0 < member.port < MIN_PORT:
                raise RemoteProtocolError("port below 1024")
    return message


ItemT = TypeVar("ItemT", bound=Entry | Gone)  # a caller may mix both


def pack_entries(items: Iterable[ItemT]) -> Iterator[list[ItemT]]:
    """Cuts changes, in their order, into batches that each fit one Publish, by number and encoded size."""
    batch: list[ItemT] = []
    room = _PUBLISH_ROOM
    for item in items:
        size = len(codec.encode(item))
        if batch and (len(batch) == MAX_PUBLISH_ENTRIES or size > room):
            yield batch
            batch, room = [], _PUBLISH_ROOM
        batch.append(item)
        room -= size
    if batch:
        yield batch


def publishes(
    share_epoch: bytes,
    base: int,
    target: int,
    changes: Iterable[tuple[int, Entry | Gone]],
    reset: bool = False,
) -> Iterator[Publish]:
    """The Publish messages (`req` 0) that take a tracker from revision `base` to `target`.

    `changes` are (revision, item) by revision, each above `base`; they are taken lazily and only up to
    `target`, for what comes later belongs to the next round. `reset`: all live entries from the beginning,
    `base` must be 0.
    """
    batch: list[Entry | Gone] = []
    room, reached = _PUBLISH_ROOM, base
    for revision, item in changes:
        if revision > target:
            break
        if reset and isinstance(item, Gone):
            continue
        size = len(codec.encode(item))
        if batch and (len(batch) == MAX_PUBLISH_ENTRIES or size > room):
            yield _publish(share_epoch, base, reached, reset, reset, batch)
            batch, room, base = [], _PUBLISH_ROOM, reached
        batch.append(item)
        room -= size
        reached = revision
    if batch or reset or base < target:
        yield _publish(share_epoch, base, target, reset, False, batch)


def _publish(
    epoch: bytes, base: int, revision: int, reset: bool, more: bool, batch: list[Entry | Gone]
) -> Publish:
    added = [item for item in batch if isinstance(item, Entry)]
    removed = [item for item in batch if isinstance(item, Gone)]
    return Publish(0, epoch, base, revision, reset, more, added, removed)
