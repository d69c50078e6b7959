"""Sizes and rates as people write them: octets (a second), or a number with K, M, G or T, powers of 1024. Pure."""

from __future__ import annotations

from protocol.errors import Fault

_STEPS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
MIN_RATE = 1024  # octets a second: who writes less means another unit
OFF = ("off", "0", "none", "unlimited")


def parse_size(text: str) -> int:
    """Octets from `1500`, `64K`, `1.5G`, `10MiB` (powers of 1024, either case). Raises Fault usage."""
    octets = _octets(text)
    if octets is None:
        raise Fault(
            "usage", f"{text!r} is not a size", "write octets, or a number with K, M, G or T: 64K, 1.5G"
        )
    return octets


def parse_rate(text: str) -> int:
    """Octets a second from `500K`, `1.5M`, `20MiB/s`, `100000`; 0 (no limit) from `off`. Raises Fault usage."""
    word = text.strip()
    if word.lower() in OFF:
        return 0
    rate = _octets(word[:-2] if word.lower().endswith("/s") else word)
    if rate is None:
        raise Fault(
            "usage",
            f"{text!r} is not a rate",
            "write octets a second, or a number with K, M or G, or off: 500K, 1.5M",
        )
    if rate < MIN_RATE:
        raise Fault("usage", f"{text!r} is under 1K a second", "rates are octets a second: 500K, 1.5M")
    return rate


def number(text: str) -> float | None:
    """A plain decimal, neither signed nor in exponent notation."""
    if not text.isascii() or not text.replace(".", "", 1).isdigit():
        return None
    return float(text)


def _octets(text: str) -> int | None:
    word = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = word[-1:] if word[-1:].isalpha() else ""
    step = _STEPS.get(unit, 0)
    value = number(word[: len(word) - len(unit)])
    if value is None or not step or value * step >= 2**63:
        return None
    return int(value * step)
