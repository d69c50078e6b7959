"""p2pd/peer/retries.py: what may pass is tried again, less and less often, and not for ever."""

from __future__ import annotations

import random

import pytest

from p2pd.peer import retries
from p2pd.peer.retries import delay, passes
from protocol.errors import EXIT_STATUS, Fault


def test_what_needs_a_person_is_not_tried_again() -> None:
    assert {code for code in EXIT_STATUS if code != "ok" and passes(Fault(code, ""))} == {
        "network",
        "timeout",
        "refused",
    }


@pytest.mark.parametrize("begun", [False, True])
def test_pauses_grow_to_a_bound(begun: bool) -> None:
    rng = random.Random(1)
    pauses = [delay(count, begun, rng) for count in range(retries.RETRIES)]
    longest = retries.RETRY_MAX_BEGUN if begun else retries.RETRY_MAX
    for count, pause in enumerate(pauses):
        assert pause is not None
        assert pause == pytest.approx(min(longest, 30 * 2**count), rel=0.1)
    assert len(set(pauses[-3:])) == 3  # they do not all come at once


def test_one_without_octets_is_given_up_after_about_a_day_and_one_with_some_never() -> None:
    rng = random.Random(1)
    assert delay(retries.RETRIES, False, rng) is None
    total = sum(delay(count, False, rng) or 0 for count in range(retries.RETRIES))
    assert 20 * 3600 < total < 28 * 3600
    assert delay(10**6, True, rng) is not None
