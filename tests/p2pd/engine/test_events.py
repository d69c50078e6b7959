"""p2pd/engine/events.py: small values that cannot be changed and are equal when they say the same."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

from p2pd.engine import events

VALUES = {
    "source": "a",
    "pieces": 5,
    "piece": 2,
    "round_trip": 0.5,
    "code": 3,
    "retry": 1.0,
    "bad_data": True,
}
VALUES |= {"ticket": 9, "octets": 7, "offset": 6, "length": 8, "end": 4, "longest": 3}
KINDS = get_args(events.Event) + get_args(events.Command)


def test_every_kind_is_listed() -> None:
    kinds = {value for value in vars(events).values() if dataclasses.is_dataclass(value)}
    assert set(KINDS) == kinds


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_value_is_frozen_small_and_comparable(kind: type) -> None:
    fields = {field.name: VALUES[field.name] for field in dataclasses.fields(kind)}
    if kind is events.Withdraw:
        fields["pieces"] = (1, 2)
    value, same = kind(**fields), kind(**fields)
    assert value == same
    assert hash(value) == hash(same)
    assert not hasattr(value, "__dict__")
    for name in fields:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, 0)


def test_kinds_with_the_same_fields_differ() -> None:
    assert events.PieceBad("a", 1) != events.PieceDone("a", 1)
    assert events.SourceReady("a", 1) != events.SourceGained("a", 1)
