"""protocol/checks.py: golden vectors, quoted by the specification, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from protocol.checks import Clock, ClockIs, Reach, Reachable, Reached
from protocol.codec import encode
from protocol.errors import RemoteProtocolError
from protocol.tracker import decode_reply, decode_request

ROOT = Path(__file__).parents[2]
MESSAGES: dict[str, Any] = {
    "Clock": Clock(1),
    "Reach": Reach(2),
    "ClockIs": ClockIs(1, 1_790_000_000_123, 3, 1_790_604_800),
    "ClockIs, one key": ClockIs(1, 1_790_000_000_123, 0, 0),
    "Reached": Reached(2, Reachable.YES, "10.0.0.1", 8001, 12),
    "Reached, nobody": Reached(2, Reachable.NOBODY, "fd00::1", 8001, 5000),
    "Reached, nowhere": Reached(2, Reachable.NOWHERE, "", 0, 0),
}


def vectors() -> dict[str, str]:
    found: dict[str, str] = json.loads((ROOT / "tests/vectors/tracker.json").read_text())
    return found


def test_the_vectors_are_these_messages() -> None:
    assert vectors() == {name: encode(message).hex() for name, message in MESSAGES.items()}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_vector_is_read_back_and_quoted(name: str) -> None:
    octets = bytes.fromhex(vectors()[name])
    decode = decode_request if isinstance(MESSAGES[name], Clock | Reach) else decode_reply
    assert decode(octets) == MESSAGES[name]
    document = re.sub(r"\s+", "", (ROOT / "docs/protocol.md").read_text(encoding="utf-8"))
    assert f"`{octets.hex()}`" in document


@pytest.mark.parametrize(
    "message",
    [
        [25],
        [25, 1, 0],
        [25, -1],
        [26, 2**32],
        [40, 1, 5, 256, 0],
        [40, 1, -5, 0, 0],
        [40, 1, 5, 0],
        [41, 1, 4, "10.0.0.1", 8001, 0],
        [41, 1, 0, "x" * 46, 8001, 0],
        [41, 1, 0, "10.0.0.1", 65_536, 0],
    ],
)
def test_what_breaks_the_grammar_is_refused(message: list[object]) -> None:
    with pytest.raises(RemoteProtocolError):
        (decode_request if message[0] in (25, 26) else decode_reply)(encode(message))
