"""What is listed again is kept, up to a bound, and gone when its row is."""

from __future__ import annotations

import pytest

from p2pd.tracker import known_sqlite
from p2pd.tracker.known_sqlite import Known


def test_what_is_kept_is_found_until_it_is_forgotten() -> None:
    known: Known[str] = Known()
    known.keep("a", 1)
    known.keep("b", 2, 5)
    known.count(2, 3)
    known.count(9, 1)  # not kept
    assert known.find(["a", "b", "c"]) == {"a": 1, "b": 2}
    assert known.holders == {1: 0, 2: 8}
    known.forget([2, 9])
    assert known.find(["a", "b"]) == {"a": 1}
    known.clear()
    assert known.find(["a"]) == {}
    assert known.holders == {}


def test_what_was_kept_first_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_sqlite, "KEPT", 3)
    known: Known[str] = Known()
    for row, key in enumerate("abcde"):
        known.keep(key, row)
    assert known.find("abcde") == {"c": 2, "d": 3, "e": 4}
    assert known.holders.keys() == {2, 3, 4}
