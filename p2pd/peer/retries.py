"""Which failed downloads are tried again by themselves, and when. Pure: times and randomness are arguments.

The rule: what may pass without anybody doing something (nobody who has the file is there, a tracker is down or full) is tried again, less
and less often, about a day long. What needs a person (wrong data, a wrong password, a disk that refuses, a name that is taken) is not: it
stays failed until `retry`. One that has octets already is never given up for lack of sources.
"""

from __future__ import annotations

import random

from protocol.errors import Fault

PASSING = frozenset({"network", "timeout", "refused"})
"""Codes of failures that may pass by themselves."""

RETRY_FIRST = 30.0  # seconds to the second try; doubling
RETRY_MAX = 3600.0
RETRY_MAX_BEGUN = 300.0  # of a download that has octets: it only left its place in the queue to others
RETRIES = 30  # in a row, then it has failed for good: about a day after the first


def passes(fault: Fault) -> bool:
    """True when trying again later may help."""
    return fault.code in PASSING


def delay(retries: int, begun: bool, rng: random.Random) -> float | None:
    """Seconds until the next try of a download that was tried again `retries` times in a row; None: it is given up."""
    if retries >= RETRIES and not begun:
        return None
    longest = RETRY_MAX_BEGUN if begun else RETRY_MAX
    # Jitter: what failed together (a tracker went down) should not come back together.
    return min(longest, RETRY_FIRST * 2.0 ** min(retries, 20)) * rng.uniform(0.9, 1.1)
