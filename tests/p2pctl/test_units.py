"""Sizes, times and counts as people write and read them."""

from __future__ import annotations

import pytest

from p2pctl import units
from protocol.errors import Fault


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("0.5", 0.5), ("5m", 300), ("2h", 7200), ("1d", 86400), ("3s", 3)]
)
def test_times(text: str, seconds: float) -> None:
    assert units.parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "s", "1w", "inf", "1e9", "999999d"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(Fault):
        units.parse_seconds(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.0", "٣", "1" * 13])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(Fault):
        units.parse_count(text)


def test_a_count() -> None:
    assert units.parse_count("200") == 200


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024 * 100, "100 KiB"),
        (1023 * 1024, "1.0 MiB"),
        (1503238553, "1.4 GiB"),
        (2**60, "1048576 TiB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert units.format_size(size) == text


def test_a_rate() -> None:
    assert units.format_rate(36700160) == "35.0 MiB/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.97, "10 s"),
        (59.4, "59 s"),
        (59.6, "1m 0s"),
        (200, "3m 20s"),
        (3599.9, "1h 0m"),
        (5 * 3600 + 12 * 60, "5h 12m"),
        (3 * 86400 + 4 * 3600 + 5, "3d 4h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert units.format_duration(seconds) == text


@pytest.mark.parametrize(
    ("now", "text"),
    [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (7200, "2h"), (86400, "1d"), (4.5 * 86400, "4d")],
)
def test_ages(now: float, text: str) -> None:
    then = 1787044364.0  # 2026-08-18T09:12:44Z
    assert units.format_age("2026-08-18T09:12:44Z", then + now) == text


@pytest.mark.parametrize("then", ["None", "", "yesterday"])
def test_no_age(then: str) -> None:
    assert units.format_age(then, 0.0) == "-"


def test_addresses() -> None:
    assert units.format_address("192.168.1.100", 8001) == "192.168.1.100:8001"
    assert units.format_address("fd00::1", 8001) == "[fd00::1]:8001"
