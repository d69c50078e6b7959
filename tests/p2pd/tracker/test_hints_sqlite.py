"""What was learned is never said to be nowhere, however full the table is; what was not hardly ever anywhere."""

from __future__ import annotations

from random import Random

import pytest

from p2pd.tracker import hints_sqlite
from p2pd.tracker.hints_sqlite import ANY, Hints


@pytest.fixture
def slots(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(hints_sqlite, "SLOTS", 2**12)
    return 2**12


def keys(seed: int, count: int) -> dict[int, int]:
    """Keys as those of names (hashes, also negative ones) and contents are."""
    rng = Random(seed)
    return {number: rng.getrandbits(62) - 2**61 for number in range(count)}


def test_a_key_is_where_it_was_learned(slots: int) -> None:
    hints = Hints()
    first, second = keys(1, 300), keys(2, 300)
    hints.learn(7, first.values())
    hints.learn(8, second.values())
    assert hints.learned == 600
    right = (
        sum(era == 7 for era in hints.ask(first).values()),
        sum(era == 8 for era in hints.ask(second).values()),
    )
    assert hints.ask(first).keys() == first.keys()
    assert hints.ask(second).keys() == second.keys()
    assert right[0] > 295
    assert right[1] == 300, "the last to be learned is never wrong"
    assert len(hints.ask(keys(3, 1000))) < 10


@pytest.mark.parametrize("share", [0.5, 1, 3])
def test_what_was_learned_is_never_said_to_be_nowhere(slots: int, share: float) -> None:
    hints = Hints()
    learned: dict[int, int] = {}
    for era, part in enumerate(range(0, int(share * slots), 256), 1):
        some = {part + number: key for number, key in keys(era, 256).items()}
        hints.learn(era, some.values())
        learned |= some
        assert hints.ask(learned).keys() == learned.keys()
    assert hints.learned == len(learned)


def test_what_finds_no_place_may_be_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints_sqlite, "SLOTS", 16)
    hints = Hints()
    crowd = {check: check << 24 | 3 for check in range(hints_sqlite.PROBES + 1)}  # all at one place
    hints.learn(1, crowd.values())
    assert set(hints.ask(crowd).values()) == {ANY}
    assert hints.ask({"elsewhere": 14}) == {}


def test_of_eras_with_the_same_code_the_newest_is_told(slots: int) -> None:
    hints = Hints()
    hints.learn(1, [3])
    hints.learn(255, [4])
    assert hints.ask({"old": 3, "new": 4, "none": 5}) == {"old": 255, "new": 255}


def test_keys_of_several_eras_are_looked_for_in_all(slots: int) -> None:
    hints = Hints()
    twice, once = keys(1, 100), keys(2, 100)
    hints.learn(7, twice.values(), all_there=True)
    hints.learn(8, [*twice.values(), *once.values()], all_there=True)
    hints.learn(8, once.values(), all_there=True)
    assert set(hints.ask(twice).values()) == {ANY}
    assert sum(era == 8 for era in hints.ask(once).values()) > 90
    hints.scatter(once.values())
    assert set(hints.ask(once).values()) == {ANY}
