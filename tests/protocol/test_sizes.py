"""protocol/sizes.py: sizes and rates as people write them."""

from __future__ import annotations

import pytest

from protocol import sizes
from protocol.errors import Fault


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1500", 1500),
        ("64K", 65536),
        ("64k", 65536),
        ("1.5G", 3 * 2**29),
        ("10MiB", 10 * 2**20),
        ("10MB", 10 * 2**20),
        ("1T", 2**40),
        ("7B", 7),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert sizes.parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "K", "-1", "+1", "1e3", "1X", "1 K K", "1.2.3", "nan", "٣", "9999999T", "1KK"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(Fault) as caught:
        sizes.parse_size(text)
    assert caught.value.code == "usage"


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("off", 0),
        ("OFF", 0),
        ("0", 0),
        ("unlimited", 0),
        ("1024", 1024),
        ("100K", 102_400),
        ("1.5M", 3 * 2**19),
        ("20MiB/s", 20 * 2**20),
        ("1g/S", 2**30),
    ],
)
def test_rates(text: str, rate: int) -> None:
    assert sizes.parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "5", "1023", "0.5K", "-1M", "5M/m", "/s"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(Fault) as caught:
        sizes.parse_rate(text)
    assert caught.value.code == "usage"
