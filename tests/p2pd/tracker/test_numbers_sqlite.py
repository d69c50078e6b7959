"""Lists and digests as SQLite takes them."""

from __future__ import annotations

from p2pd.tracker.numbers_sqlite import head, json_list


def test_a_list_is_json() -> None:
    assert json_list([1, 2**61]) == "[1,2305843009213693952]"
    assert json_list([]) == "[]"


def test_the_number_of_any_digest_fits_and_keeps_its_order() -> None:
    assert 0 == head(bytes(32)) < head(b"\1" + bytes(31)) < head(b"\xff" * 32) < 2**63
