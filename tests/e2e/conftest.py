"""What the end-to-end tests share: an empty swarm that is cleaned up, and proxies that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.proxy import Proxy
from tests.fakes.processes import Swarm


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Swarm]:
    """A swarm without members."""
    with Swarm(tmp_path) as made:
        yield made


@pytest.fixture
def make_proxy() -> Iterator[Callable[..., Proxy]]:
    """Makes proxies (see Proxy); all end with the test."""
    made: list[Proxy] = []

    def make(**how: float | bool) -> Proxy:
        made.append(Proxy(**how))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()
