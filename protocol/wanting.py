"""What is wanted and not there yet: a question to a tracker that waits for its answer (docs/protocol.md, "Wanting").

A wish is a Search without order, pages or ALL. Only for a tracker with Feature.WANTS.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from protocol.limits import MAX_FILE, MAX_PATH, MAX_QUERY, MAX_TERMS, MAX_WANTS

_Request = Annotated[int, Meta(ge=0, le=2**32 - 1)]
_Size = Annotated[int, Meta(ge=0, le=MAX_FILE)]
_Parts = Annotated[list[Annotated[str, Meta(min_length=1, max_length=MAX_QUERY)]], Meta(max_length=MAX_TERMS)]


class Wish(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is wanted; the fields are those of a SearchTerms. `by`: one of tracker.By, but not ALL."""

    by: Annotated[int, Meta(ge=0, le=3)]
    text: Annotated[str, Meta(max_length=MAX_PATH)] = ""
    ext: Annotated[str, Meta(max_length=32)] = ""
    min_size: _Size = 0
    max_size: _Size = MAX_FILE
    phrases: _Parts = []
    without: _Parts = []
    without_phrases: _Parts = []


class Want(Struct, frozen=True, array_like=True, tag=27, forbid_unknown_fields=True):
    """All that this device waits for. Answered by Wanted when something of it is there, or comes, or after a while."""

    req: _Request
    wishes: Annotated[list[Wish], Meta(max_length=MAX_WANTS)]


class Wanted(Struct, frozen=True, array_like=True, tag=42, forbid_unknown_fields=True):
    """Which wishes (their positions) another device serves something for now. Empty: nothing came; ask again."""

    req: _Request
    found: Annotated[list[Annotated[int, Meta(ge=0, lt=MAX_WANTS)]], Meta(max_length=MAX_WANTS)]
