"""One status out of several outcomes."""

from __future__ import annotations

import pytest

from p2pctl.exitcodes import combine
from protocol.errors import Fault


@pytest.mark.parametrize(
    ("codes", "total", "status"),
    [
        ([], 1, 0),
        ([], 3, 0),
        (["not_found"], 1, 4),
        (["not_found"], 2, 12),
        (["not_found", "not_found"], 2, 4),
        (["not_found", "storage"], 2, 12),
        (["not_found", "not_found"], 3, 12),
    ],
)
def test_combine(codes: list[str], total: int, status: int) -> None:
    assert combine([Fault(code, "x") for code in codes], total) == status
