"""How long a record is, where in it things lie, and the tag of a message. Pure sizes: no key, no session.

    RECORD 10 | sid(8) | raw Fernet token of: seq(8) | header length(2) | header | payload

Specification: docs/protocol.md, "Records".
"""

from __future__ import annotations

from protocol.errors import LocalProtocolError
from protocol.fernet import PLAIN_AT, Octets, room_to_open, token_size
from protocol.ids import SID_SIZE

FIRST_DIALECT_TAG = 16
MAX_TAG = 255

RECORD_HEAD = 1 + SID_SIZE
PLAIN_HEAD = 8 + 2  # octets of a record's plaintext before its header: sequence number, length of the header


def record_size(header: int, payload: int) -> int:
    """Octets of the record with a header and a payload of these octets."""
    return RECORD_HEAD + token_size(PLAIN_HEAD + header + payload)


def payload_at(header: int) -> int:
    """Where in a record the payload behind a header of these octets lies, before it is sealed."""
    return RECORD_HEAD + PLAIN_AT + PLAIN_HEAD + header


def room_to_open_record(record: int) -> int:
    """Octets that `open_into` needs in its buffer for a record of `record` octets."""
    return room_to_open(record - RECORD_HEAD)


def check_header(header: Octets) -> None:
    """Raises LocalProtocolError for what is no message of a dialect."""
    if not FIRST_DIALECT_TAG <= message_tag(header) <= MAX_TAG:
        raise LocalProtocolError("a header is a message with a tag from 16")


def message_tag(header: Octets) -> int:
    """The tag of a message `[tag, ...]` without decoding it; -1 when there is none.

    Arrays of 1 to 65,535 items; tags 0 to 255 in their shortest form, so that each tag has one spelling.
    """
    size = len(header)
    if size < 2:
        return -1
    first = header[0]
    at = 1 if 0x91 <= first <= 0x9F else 3 if first == 0xDC else size
    if at >= size:
        return -1
    tag = header[at]
    if tag <= 0x7F:
        return tag
    if tag == 0xCC and at + 1 < size and header[at + 1] > 0x7F:
        return header[at + 1]
    return -1
