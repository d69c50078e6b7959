"""What tests of several packages share: one PostgreSQL server for all of them, started by the first that asks; Ctrl-C means something."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.fakes import postgres as fake


@pytest.fixture(scope="session")
def postgres() -> Iterator[fake.Server]:
    """A running server; skipped where PostgreSQL is not installed."""
    with fake.running() as server:
        yield server


def pytest_configure() -> None:
    """Shells start what they put into the background with SIGINT ignored, nohup with SIGHUP: whatever a test starts would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)  # a handler of ours is not inherited
