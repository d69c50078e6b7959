"""p2pd/control/pages.py: pages fit one reply."""

from __future__ import annotations

from typing import Any

from p2pd.control import pages
from p2pd.control.pages import cut, page


def test_a_page_holds_at_least_one_item() -> None:
    items: list[dict[str, Any]] = [{"text": "x" * pages.PAGE_OCTETS}] * 3
    assert cut(items) == (items[:1], True)
    assert cut([]) == ([], False)
    assert cut([{"a": 1}] * 10) == ([{"a": 1}] * 10, False)


def test_the_form_of_a_list() -> None:
    assert page([{"a": 1}], "c") == {"items": [{"a": 1}], "next": "c", "partial": False, "warnings": []}
