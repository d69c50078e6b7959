"""What tests of several packages share: one PostgreSQL server for all of them, started by the first that asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes import postgres as fake


@pytest.fixture(scope="session")
def postgres() -> Iterator[fake.Server]:
    """A running server; skipped where PostgreSQL is not installed."""
    with fake.running() as server:
        yield server
