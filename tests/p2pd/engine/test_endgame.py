"""p2pd/engine/endgame.py: which piece an idle source is asked for too."""

from __future__ import annotations

from p2pd.engine.credit import Credit
from p2pd.engine.endgame import latest
from p2pd.engine.source import Job, Source
from protocol.limits import KIB, MIB

NOW = 100.0


def make_source(name: str, rate: float, *pieces: int, asked_at: float = NOW - 0.1) -> Source:
    """A source with all pieces, of so many MiB a second (0: not known), asked for `pieces`."""
    credit = Credit()
    if rate:
        credit.take(name, NOW - 1.0)
        credit.give_back(name, int(rate * MIB), 0.01, NOW)
    source = Source(name, 0xFFFF, False, credit)
    for piece in pieces:
        source.jobs[piece] = Job(piece, MIB, MIB)
        source.jobs[piece].asked_at = asked_at
    return source


def choice(idle: Source, *owners: Source, length: int = MIB, now: float = NOW) -> int | None:
    in_flight: dict[int, set[str]] = {}
    for owner in (*owners, idle):
        for piece in owner.jobs:
            in_flight.setdefault(piece, set()).add(owner.name)
    return latest(idle, (idle, *owners), in_flight, length, now)


def test_nothing_in_flight_nothing_to_copy() -> None:
    assert choice(make_source("idle", 10)) is None


def test_what_would_come_last_is_copied() -> None:
    idle, slow, slower = make_source("idle", 10), make_source("b", 1, 1, 2, 3), make_source("c", 0.5, 4, 5)
    assert choice(idle, slow, slower) == 5


def test_what_comes_soon_is_not_copied() -> None:
    idle = make_source("idle", 10)
    assert choice(idle, make_source("b", 10, 1)) is None
    assert choice(idle, make_source("b", 6, 1)) is None
    assert choice(idle, make_source("b", 2, 1)) == 1


def test_what_comes_in_parts_is_not_copied() -> None:
    assert choice(make_source("idle", 100), make_source("b", 1, 1), length=2 * MIB) is None


def test_a_source_under_a_low_limit_is_not_asked_for_whole_pieces() -> None:
    idle = make_source("idle", 10)
    idle.longest = 256 * KIB
    assert choice(idle, make_source("b", 1, 1)) == 1
    idle.longest = 128 * KIB
    assert choice(idle, make_source("b", 1, 1)) is None


def test_what_is_here_and_being_written_is_not_copied() -> None:
    idle, owner = make_source("idle", 100), make_source("b", 1, 1)
    owner.jobs[1].came = MIB
    assert choice(idle, owner) is None


def test_two_copies_are_enough() -> None:
    idle = make_source("idle", 100)
    assert choice(idle, make_source("b", 1, 1), make_source("c", 1, 1)) is None
    assert choice(make_source("idle", 100, 1), make_source("b", 1, 1)) is None


def test_only_what_the_idle_one_has_is_copied() -> None:
    idle = make_source("idle", 100)
    idle.pieces = 0b10
    assert choice(idle, make_source("b", 1, 1, 2)) == 1


def test_a_source_of_unknown_rate_is_given_some_time() -> None:
    idle, fresh = make_source("idle", 10), make_source("b", 0, 1, asked_at=NOW)
    assert choice(idle, fresh) is None
    assert choice(idle, fresh, now=NOW + 1.0) == 1


def test_an_idle_one_of_unknown_rate_is_believed_to_be_slow() -> None:
    idle = make_source("idle", 0)
    assert choice(idle, make_source("b", 1, 1)) is None
    assert choice(idle, make_source("b", 1, 1, 2, 3)) == 3


def test_silence_makes_late_and_probation_makes_latest() -> None:
    idle, silent, slow = make_source("idle", 10), make_source("b", 50, 1), make_source("c", 0.2, 2)
    assert choice(idle, silent) is None
    silent.credit.heard = NOW - 0.9
    silent.jobs[1].asked_at = NOW - 0.9
    assert choice(idle, silent) == 1
    assert choice(idle, silent, slow) == 2
    silent.probation = True
    assert choice(idle, silent, slow) == 1
