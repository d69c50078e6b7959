"""p2pd/happenings.py: the table of kinds."""

from __future__ import annotations

import dataclasses

from p2pd import happenings
from p2pd.happenings import ALL, KINDS, Happening, TransferCancelled, error_of, fields
from protocol.errors import Fault


def test_every_kind_is_in_the_table_once() -> None:
    defined = {
        value
        for value in vars(happenings).values()
        if isinstance(value, type) and issubclass(value, Happening) and value is not Happening
    }
    assert set(ALL) == defined
    assert len(KINDS) == len(ALL)


def test_no_field_hides_what_each_event_has() -> None:
    for kind in ALL:
        names = {field.name for field in dataclasses.fields(kind)}
        assert names & {"run", "seq", "cursor", "time", "kind", "missed"} == set(), kind


def test_fields_by_name() -> None:
    assert fields(TransferCancelled("t-1", "ab", "a.bin")) == {"transfer": "t-1", "id": "ab", "name": "a.bin"}
    assert error_of(Fault("storage", "full", "make room")) == {
        "code": "storage",
        "message": "full",
        "hint": "make room",
    }
