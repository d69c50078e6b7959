"""The peer dialect: what a downloader asks an uploader, and the answers (docs/protocol.md, "Peer dialect").

The downloader is always the initiator. Each request carries `req`, chosen by the downloader, and gets exactly one answer
with the same `req`: the data or `Refused`. Bulk octets (bitfield, manifest part, block) are the record's payload, never
inside the message.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from protocol.codec import Decoder
from protocol.ids import CONTENT_ID_SIZE
from protocol.limits import (
    MAX_ARRAY,
    MAX_BLOCK,
    MAX_COLLECTION,
    MAX_CONTENTS,
    MAX_CONTROL_MESSAGE,
    MAX_FILE,
    MAX_PIECES,
    MIN_BLOCK,
)

RequestNumber = Annotated[int, Meta(ge=0, lt=2**32)]
ContentId = Annotated[bytes, Meta(min_length=CONTENT_ID_SIZE, max_length=CONTENT_ID_SIZE)]
PieceIndex = Annotated[int, Meta(ge=0, lt=MAX_PIECES)]
Offset = Annotated[int, Meta(ge=0, lt=MAX_FILE)]
Length = Annotated[int, Meta(ge=1, le=MAX_BLOCK)]


class Interest(Struct, array_like=True, forbid_unknown_fields=True, tag=16):
    """Which pieces of this content do you have? Answered by Available."""

    req: RequestNumber
    content_id: ContentId


class GetManifest(Struct, array_like=True, forbid_unknown_fields=True, tag=17):
    """The octets of the manifest, or of the collection, from `offset`, at most MANIFEST_PART of them. Answered by
    ManifestPart."""

    req: RequestNumber
    content_id: ContentId
    offset: Annotated[int, Meta(ge=0, le=MAX_COLLECTION)]


class GetBlock(Struct, array_like=True, forbid_unknown_fields=True, tag=18):
    """`length` octets from `offset` (octets within the piece) of one piece. Answered by Block."""

    req: RequestNumber
    content_id: ContentId
    piece: PieceIndex
    offset: Offset
    length: Length


class Cancel(Struct, array_like=True, forbid_unknown_fields=True, tag=19):
    """Requests for this content that are still queued are answered with Refused(CANCELLED); `req` is answered by Done.

    With `pieces`, only those for blocks of these pieces.
    """

    req: RequestNumber
    content_id: ContentId
    pieces: Annotated[list[PieceIndex], Meta(max_length=MAX_ARRAY)] = []


class GetContents(Struct, array_like=True, forbid_unknown_fields=True, tag=20):
    """All octets of several contents of at most MAX_BLOCK octets together. Answered by Contents.

    Only for an uploader with Feature.CONTENTS. Who asks must know the sizes, from a collection.
    """

    req: RequestNumber
    contents: Annotated[list[ContentId], Meta(min_length=1, max_length=MAX_CONTENTS)]

    @property
    def content_id(self) -> bytes:
        """Of no single content: no Cancel means it."""
        return b""


class Available(Struct, array_like=True, forbid_unknown_fields=True, tag=24):
    """Answer to Interest. `complete`: all pieces; otherwise the payload is the bitfield."""

    req: RequestNumber
    complete: bool


class ManifestPart(Struct, array_like=True, forbid_unknown_fields=True, tag=25):
    """Answer to GetManifest: the payload, out of `total` octets."""

    req: RequestNumber
    total: Annotated[int, Meta(ge=1, le=MAX_COLLECTION)]


class Block(Struct, array_like=True, forbid_unknown_fields=True, tag=26):
    """Answer to GetBlock: the payload, exactly as long as was asked."""

    req: RequestNumber


class Done(Struct, array_like=True, forbid_unknown_fields=True, tag=27):
    """Answer to Cancel."""

    req: RequestNumber


class Refused(Struct, array_like=True, forbid_unknown_fields=True, tag=28):
    """Answer to any request that is not fulfilled: a code of protocol.errors.Refusal and when to ask again (seconds)."""

    req: RequestNumber
    code: Annotated[int, Meta(ge=1, le=255)]
    retry_s: Annotated[int, Meta(ge=0, le=3600)] = 0


class Have(Struct, array_like=True, forbid_unknown_fields=True, tag=29):
    """Unasked, to a downloader that showed interest: these pieces have come since. Has no answer."""

    content_id: ContentId
    pieces: Annotated[list[PieceIndex], Meta(min_length=1, max_length=1024)]


class Contents(Struct, array_like=True, forbid_unknown_fields=True, tag=31):
    """Answer to GetContents. `results`: for each content asked for, in that order, its octets in the payload, or
    minus a code of protocol.errors.Refusal. The payload: those octets, one content after the other."""

    req: RequestNumber
    results: Annotated[
        list[Annotated[int, Meta(ge=-255, le=MAX_BLOCK)]], Meta(min_length=1, max_length=MAX_CONTENTS)
    ]


class Pace(Struct, array_like=True, forbid_unknown_fields=True, tag=30):
    """Unasked, to a downloader with Feature.PACE: blocks of this uploader had better be at most so long. Has no answer."""

    length: Annotated[int, Meta(ge=MIN_BLOCK, le=MAX_BLOCK)]


Request = Interest | GetManifest | GetBlock | Cancel | GetContents
Reply = Available | ManifestPart | Block | Done | Refused | Have | Contents | Pace

_requests: Decoder[Request] = Decoder(Request, MAX_CONTROL_MESSAGE)
_replies: Decoder[Reply] = Decoder(Reply, MAX_CONTROL_MESSAGE)


def decode_request(header: bytes | bytearray | memoryview) -> Request:
    """A downloader's message. Raises RemoteProtocolError when malformed or out of range."""
    return _requests.decode(header)


def decode_reply(header: bytes | bytearray | memoryview) -> Reply:
    """An uploader's message. Raises RemoteProtocolError when malformed or out of range."""
    return _replies.decode(header)
