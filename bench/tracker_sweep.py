"""What it costs that all devices depart: for bench/tracker.py, on the tracker's own database after its end."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from typing import Any

from tracker_data import WORDS_ASKED, Data, question

from p2pd.tracker import search
from p2pd.tracker.registry_sqlite import SqliteRegistry
from p2pd.tracker.service import SWEEP_ENTRIES
from protocol.limits import ANNOUNCE_LIFETIME, FORGET_SECONDS
from protocol.tracker import By, SearchTerms


def sweep(path: Path, data: Data, entries: int) -> dict[str, Any]:
    """Milliseconds of the steps in which a tracker forgets departed devices, and of searches between them."""
    registry = SqliteRegistry(path)
    rng = Random(3)
    registry.resume(0.0, ANNOUNCE_LIFETIME)
    now = ANNOUNCE_LIFETIME + FORGET_SECONDS + 1
    steps, searches, done = [], [], 0
    while done < entries:
        begun = time.perf_counter()
        removed = registry.sweep(now, now - FORGET_SECONDS, SWEEP_ENTRIES)
        steps.append(time.perf_counter() - begun)
        done += removed
        if not removed:
            break
        text, _ = question(
            data, rng.choice([kind for kind in WORDS_ASKED if kind not in ("phrase", "id")]), rng
        )
        query = search.parse(SearchTerms(0, By.TEXT, text))
        begun = time.perf_counter()
        registry.search(query, 200, now)
        searches.append(time.perf_counter() - begun)
        now += 0.02
    registry.close()
    steps.sort()
    searches.sort()
    return {
        "swept_entries": done,
        "sweep_step_p50_ms": 1000 * steps[len(steps) // 2],
        "sweep_step_p99_ms": 1000 * steps[len(steps) * 99 // 100],
        "sweep_step_most_ms": 1000 * steps[-1],
        "search_of_the_departed_p99_ms": 1000 * searches[len(searches) * 99 // 100],
    }
