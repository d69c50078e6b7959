"""Messages to octets and back: the only user of msgspec on the wire.

Messages are msgspec structs encoded as msgpack arrays `[tag, field, ...]`. Decoding is typed: the decoder walks the
octets against the type, so nesting is bounded by the types, list and text lengths by their `Meta`, and a hostile length
never allocates. All of msgspec's exceptions become RemoteProtocolError.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from protocol.errors import RemoteProtocolError

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()


def encode(message: Any) -> bytes:
    """A struct or plain value as msgpack."""
    return _encoder.encode(message)


def numbered(message: T, req: int) -> T:
    """A copy of a request or answer with this request number."""
    return msgspec.structs.replace(message, req=req)  # type: ignore[type-var]


class Decoder(Generic[T]):
    """Decodes one type (or tagged union of structs), at most `limit` octets."""

    def __init__(self, kind: Any, limit: int) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)
        self._limit = limit

    def decode(self, data: bytes | bytearray | memoryview) -> T:
        """The message in `data`. Raises RemoteProtocolError when it is too long, malformed or out of range."""
        if len(data) > self._limit:
            raise RemoteProtocolError("message too long")
        try:
            return self._decoder.decode(data)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            raise RemoteProtocolError(f"malformed message: {error}") from error
