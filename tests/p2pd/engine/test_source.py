"""p2pd/engine/source.py: what one source owes, and how long it will take."""

from __future__ import annotations

import math

import pytest

from p2pd.engine.credit import Credit
from p2pd.engine.source import Job, Source, Ticket
from protocol.limits import KIB, MIB


def make_source(rate: float = 0.0) -> Source:
    """A source that gave 10 MiB at `rate`, half a second ago."""
    credit = Credit()
    if rate:
        credit.take("x", 0.0)
        credit.give_back("x", 10 * MIB, 0.1, 10 * MIB / rate)
    return Source("a", 0b111, False, credit)


def test_a_job_is_whole_when_one_block_covers_it() -> None:
    assert Job(0, 100, 100).whole
    assert Job(0, 100, 128).whole
    assert not Job(0, 100, 64).whole


def test_the_first_job_with_blocks_left_is_gone_on_with() -> None:
    source = make_source()
    assert source.unasked() is None
    for piece in (5, 2):
        source.jobs[piece] = Job(piece, 100, 10)
    assert source.unasked() is source.jobs[5]
    source.jobs[5].next = 100
    assert source.unasked() is source.jobs[2]
    assert source.asked == {2, 5}


def test_what_has_come_is_not_queued() -> None:
    source = make_source()
    source.jobs[1] = Job(1, 100, 10)
    source.jobs[2] = Job(2, 50, 10)
    source.jobs[1].came = 30
    assert source.queued == 120


def test_time_needed_follows_the_rate() -> None:
    assert make_source().seconds_for(MIB) is None
    assert make_source(2 * MIB).seconds_for(MIB) == pytest.approx(0.6)


def test_silence_begins_with_the_question_or_the_last_answer() -> None:
    source = make_source()
    assert source.silence(9.0) == 0.0
    source.jobs[1] = Job(1, 100, 10)
    source.jobs[0] = Job(0, 100, 10)
    assert source.silence(9.0) == 0.0  # nothing is on its way
    source.jobs[1].asked_at, source.jobs[0].asked_at = 4.0, 8.0
    assert source.silence(9.0) == 5.0
    source.credit.heard = 7.0
    assert source.silence(9.0) == 2.0


def test_a_ticket_keeps_the_credit_that_it_was_taken_from() -> None:
    source = make_source()
    job = Job(1, 100, 10)
    ticket = Ticket(source, job, 10)
    assert (ticket.credit, ticket.job, ticket.source, ticket.length, ticket.asked_at) == (
        source.credit,
        job,
        "a",
        10,
        math.inf,
    )


def test_blocks_are_as_long_as_rate_and_limits_allow() -> None:
    source = make_source(2 * MIB)
    assert source.block == 256 * KIB
    source.longest = 64 * KIB
    assert source.block == 64 * KIB
