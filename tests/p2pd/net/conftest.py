"""A listener on loopback and somebody who dials it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.fakes.reactors import Liar, Net, Recorder, Stranger, echo


@pytest.fixture
def net() -> Iterator[Net]:
    """A listening and a dialling reactor."""
    with Net() as net:
        yield net


@pytest.fixture
def handler() -> Recorder:
    """Keeps what happens, and answers an Interest."""
    return Recorder(echo)


@pytest.fixture
def port(net: Net, handler: Recorder) -> int:
    """Where a router with this handler listens."""
    return net.listen(handler).port


@pytest.fixture
def member(net: Net, handler: Recorder, port: int) -> Stranger:
    """Somebody with a session."""
    stranger = net.stranger(port)
    stranger.shake_hands("member")
    return stranger


@pytest.fixture
def lie(net: Net) -> Iterator[Callable[[Callable[[Liar], object]], Liar]]:
    """Makes liars, and ends them."""
    liars = []

    def make(script: Callable[[Liar], object]) -> Liar:
        liars.append(Liar(net, script))
        return liars[-1]

    yield make
    for liar in liars:
        liar.close()
