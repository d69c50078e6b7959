"""Identifiers: how they look, how they are parsed. Octets inside, text only at the edges.

Imported by the client at each start, which asks for no device id: base64 (and re, which that needs, 6 ms) is imported where it is used.
"""

from __future__ import annotations

from protocol.errors import RemoteProtocolError

CONTENT_ID_SIZE = 32
DEVICE_ID_SIZE = 20
SID_SIZE = 8
MIN_PREFIX = 8
_HEX = frozenset("0123456789abcdef")


def is_hex(text: str) -> bool:
    """True for a non-empty string of lower-case hex digits."""
    return bool(text) and set(text) <= _HEX


def content_text(content_id: bytes) -> str:
    """Content id (32 octets) as 64 lower-case hex digits."""
    return content_id.hex()


def content_from_text(text: str) -> bytes:
    """The 32 octets of a content id or SHA-256. Raises RemoteProtocolError for anything else."""
    if len(text) != 2 * CONTENT_ID_SIZE or not is_hex(text):
        raise RemoteProtocolError("not a content id")
    return bytes.fromhex(text)


def device_text(device_id: bytes) -> str:
    """Device id (20 octets) as 32 lower-case base32 characters (RFC 4648, no padding is ever needed)."""
    from base64 import b32encode

    return b32encode(device_id).decode("ascii").lower()


def device_from_text(text: str) -> bytes:
    """The 20 octets of a device id in base32. Raises RemoteProtocolError for anything else."""
    from base64 import b32decode

    try:
        device_id = b32decode(text.upper().encode("ascii"))
    except (ValueError, UnicodeEncodeError) as error:
        raise RemoteProtocolError("not a device id") from error
    if len(device_id) != DEVICE_ID_SIZE:
        raise RemoteProtocolError("not a device id")
    return device_id


def before_prefix(prefix: str) -> bytes | None:
    """The greatest device id below all whose text begins with `prefix` (b"" when there is none), to list from there on; None for what
    no device id begins with."""
    text = prefix.lower()
    width = 8 * DEVICE_ID_SIZE // 5
    if not text.isascii() or not 0 < len(text) <= width:
        return None
    try:
        least = int.from_bytes(device_from_text(text + "a" * (width - len(text))))
    except RemoteProtocolError:
        return None
    return (least - 1).to_bytes(DEVICE_ID_SIZE) if least else b""


def short(identifier: bytes) -> str:
    """The first 8 hex digits, for logs and tables."""
    return identifier[:4].hex()
