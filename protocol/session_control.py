"""The messages that a session sends for itself: arrays `[tag, ...]` with tags below those of the dialects.

Specification: docs/protocol.md, "Sessions".
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from protocol.codec import Decoder

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class KeyUpdate(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=1):
    """The last under this key of the sender's direction; the next record is under the next key."""


class Close(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=2):
    """No more to say (0), or one of Refusal."""

    reason: Annotated[int, msgspec.Meta(ge=0, le=255)]


class Ping(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=3):
    """Are you there?"""

    number: _Number


class Pong(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=4):
    """The answer to the PING of this number."""

    number: _Number


Control: TypeAlias = KeyUpdate | Close | Ping | Pong
control_messages = Decoder[Control](Control, 16)
