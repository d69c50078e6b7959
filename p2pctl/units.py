"""Sizes, rates, durations and ages: text to numbers and back.

The rule: units are powers of 1024 and seconds; numbers for machines are never formatted here. Pure.
"""

from __future__ import annotations

from protocol.errors import Fault
from protocol.sizes import number, parse_rate, parse_size

__all__ = [
    "format_address",
    "format_age",
    "format_duration",
    "format_rate",
    "format_size",
    "parse_count",
    "parse_rate",
    "parse_seconds",
    "parse_size",
]

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_seconds(text: str) -> float:
    """Seconds above zero from `30`, `1.5`, `5m`, `2h`. Raises Fault usage."""
    word = text.strip().lower()
    step = _SECONDS.get(word[-1:])
    value = number(word[:-1] if step else word)
    if not value or value * (step or 1.0) > 1e8:
        raise Fault(
            "usage", f"{text!r} is not a time", "write seconds above zero, or a number with m, h or d"
        )
    return value * (step or 1.0)


def parse_count(text: str) -> int:
    """A whole number above zero. Raises Fault usage."""
    if not (text.isascii() and text.isdigit()) or len(text) > 12 or int(text) == 0:
        raise Fault("usage", f"{text!r} is not a number above zero")
    return int(text)


def format_size(size_bytes: float) -> str:
    """`912 B`, `1.4 GiB`: three digits at most before the unit changes."""
    if size_bytes < 1024:
        return f"{int(size_bytes)} B"
    value = size_bytes / 1024
    units = iter(("KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while value >= 999.5 and unit != "TiB":
        value /= 1024
        unit = next(units)
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def format_rate(rate_bytes_per_s: float) -> str:
    """`35.0 MiB/s`."""
    return format_size(rate_bytes_per_s) + "/s"


def format_duration(duration_s: float) -> str:
    """`0.4 s`, `41 s`, `3m 20s`, `5h 12m`, `3d 4h`."""
    if duration_s < 9.95:
        return f"{duration_s:.1f} s"
    whole = round(duration_s)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def format_age(then: str, now: float) -> str:
    """How long ago an RFC 3339 time was, in one unit: `12s`, `5m`, `3h`, `4d`; `-` for what is no time.

    `now` is in seconds since 1970 UTC.
    """
    from datetime import datetime

    try:
        age = now - datetime.fromisoformat(then).timestamp()
    except (ValueError, TypeError, OverflowError):
        return "-"
    for unit, step, top in (("s", 1, 60), ("m", 60, 3600), ("h", 3600, 86400)):
        if age < top:
            return f"{max(0, int(age)) // step}{unit}"
    return f"{int(age) // 86400}d"


def format_address(host: str, port: int) -> str:
    """`192.168.1.100:8001`, `[fd00::1]:8001`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
