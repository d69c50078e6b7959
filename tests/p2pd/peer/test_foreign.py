"""p2pd/peer/foreign.py: left alone for a while, and no longer than that."""

from __future__ import annotations

from p2pd.peer.foreign import MAX_DEVICES, REST_SECONDS, Foreign


def device(number: int) -> bytes:
    return number.to_bytes(20, "big")


def test_for_a_while() -> None:
    foreign = Foreign()
    assert not foreign.holds(device(1), 0.0)
    foreign.note(device(1), 0.0)
    assert foreign.holds(device(1), REST_SECONDS - 0.1)
    assert not foreign.holds(device(1), REST_SECONDS)
    foreign.note(device(2), 5.0)
    assert foreign.all([device(1), device(2)], 6.0)
    assert not foreign.all([device(1), device(3)], 6.0)
    foreign.forget()
    assert not foreign.holds(device(2), 6.0)


def test_few_are_kept() -> None:
    foreign = Foreign()
    for number in range(MAX_DEVICES + 5):
        foreign.note(device(number), 0.0)
    assert not foreign.holds(device(4), 1.0)
    assert foreign.holds(device(5), 1.0)
    assert foreign.holds(device(MAX_DEVICES + 4), 1.0)
