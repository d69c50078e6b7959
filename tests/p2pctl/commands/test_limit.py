"""p2pctl limit: the words, and what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from p2pctl.commands.limit import read
from protocol.errors import Fault
from tests.p2pctl.conftest import Daemon, Run
from tests.p2pctl.samples import page

UP = {"direction": "up", "limit_bytes_per_s": 512_000, "rate_bytes_per_s": 2048, "origin": "limit"}
DOWN = {"direction": "down", "limit_bytes_per_s": None, "rate_bytes_per_s": 0, "origin": "settings"}


@pytest.mark.parametrize(
    ("words", "params"),
    [
        ([], {}),
        (["up"], {"direction": "up"}),
        (["down", "off"], {"direction": "down", "limit_bytes_per_s": 0}),
        (["20M"], {"limit_bytes_per_s": 20 * 2**20}),
        (["up", "default"], {"direction": "up", "default": True}),
    ],
)
def test_the_words(words: list[str], params: dict[str, Any]) -> None:
    assert read(words) == params


@pytest.mark.parametrize("words", [["sideways"], ["up", "5"], ["up", "5M", "now"], ["5M", "up"]])
def test_what_makes_no_sense(words: list[str]) -> None:
    with pytest.raises(Fault) as caught:
        read(words)
    assert caught.value.code == "usage"


def test_what_is_shown(daemon: Daemon, p2pctl: Run) -> None:
    daemon.on["limit"] = page(UP, DOWN)
    result = p2pctl("limit", "up", "500K")
    assert result.out == "up    500 KiB/s, set by p2pctl limit; now 2.0 KiB/s\ndown  no limit; now 0 B/s\n"
    assert daemon.server.requests[-1].params == {"direction": "up", "limit_bytes_per_s": 512_000}
    assert p2pctl("-q", "limit").out == "512000\n"
    assert p2pctl("--tsv", "limit").out == "up\t512000\t2048\tlimit\ndown\t\t0\tsettings\n"
