"""Thousands of small swarms in virtual time, each from a seed (tests/sim/scenarios.py).

P2PD_SIM_SCENARIOS says how many, P2PD_SIM_SEED runs the one that failed:

    P2PD_SIM_SEED=1234 python -m pytest tests/sim/test_scenarios.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.sim.scenarios import Scenario

SHARES = 20
COUNT = int(os.environ.get("P2PD_SIM_SCENARIOS", "1500"))
ONE = os.environ.get("P2PD_SIM_SEED")


def seeds(share: int) -> Iterator[int]:
    """Those of one share of all scenarios."""
    if ONE is not None:
        return iter([int(ONE)] if share == 0 else [])
    return iter(range(share, COUNT, SHARES))


@pytest.mark.timeout(max(120, COUNT))
@pytest.mark.parametrize("share", range(SHARES))
def test_everybody_gets_the_file_whatever_goes_wrong(share: int) -> None:
    for seed in seeds(share):
        try:
            Scenario(seed).run()
        except BaseException as error:
            raise AssertionError(f"P2PD_SIM_SEED={seed}: {error}") from error


def test_one_seed_is_one_run() -> None:
    def trace(seed: int) -> list[object]:
        scenario = Scenario(seed)
        scenario.run()
        return [
            (loader.done_at, loader.received, sorted(loader.asked_of)) for loader in scenario.downloaders
        ] + [holder.sent for holder in scenario.holders]

    for seed in range(20):
        assert trace(seed) == trace(seed)
    assert len({str(trace(seed)) for seed in range(20)}) == 20
