"""Messages of the tracker dialect by which a device looks after itself: the tracker's time, and whether others reach us.

Only for a tracker with Feature.CHECKS. The rule: an answer says of the asker only what the asker may know (docs/protocol.md,
"Checks"). Part of protocol/tracker.py, which decodes them with its own.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from msgspec import Meta, Struct

_Request = Annotated[int, Meta(ge=0, le=2**32 - 1)]
_Milliseconds = Annotated[int, Meta(ge=0, le=2**53 - 1)]
_UnixTime = Annotated[int, Meta(ge=0, le=2**40)]


class Reachable(IntEnum):
    """What the tracker found at the address by which it names the asker."""

    YES = 0  # the asker itself, proven with its device key
    NOBODY = 1  # no connection came about
    OTHER = 2  # a connection, but nobody proved to be the asker
    NOWHERE = 3  # the asker has no address: it does not listen


class Clock(Struct, frozen=True, array_like=True, tag=25, forbid_unknown_fields=True):
    """What time is it there, and which key do you hold?"""

    req: _Request


class Reach(Struct, frozen=True, array_like=True, tag=26, forbid_unknown_fields=True):
    """Dial me, please, at the address by which you name me to others."""

    req: _Request


class ClockIs(Struct, frozen=True, array_like=True, tag=40, forbid_unknown_fields=True):
    """`time_ms`: Unix time in milliseconds. `epoch`: of the tracker's newest key; `older_until`: when its older key ends (Unix
    seconds), 0 without one."""

    req: _Request
    time_ms: _Milliseconds
    epoch: Annotated[int, Meta(ge=0, le=255)]
    older_until: _UnixTime


class Reached(Struct, frozen=True, array_like=True, tag=41, forbid_unknown_fields=True):
    """What was found at `host` and `port`, and after how many milliseconds. NOWHERE: "" and 0."""

    req: _Request
    result: Reachable
    host: Annotated[str, Meta(max_length=45)]
    port: Annotated[int, Meta(ge=0, le=65_535)]
    after_ms: _Milliseconds
