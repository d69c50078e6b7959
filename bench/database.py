"""A PostgreSQL of its own for a measurement: with everything that makes a real one safe, and a quarter of this machine's memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.fakes import postgres as fake  # noqa: E402

OPTIONS = (
    "listen_addresses=",
    "shared_buffers=1GB",
    "max_wal_size=4GB",
    "max_connections=60",
    "log_min_messages=fatal",
)


@contextmanager
def running() -> Iterator[str]:
    """The address of an empty database; its server ends with the block. On a Unix socket."""
    with fake.running(OPTIONS) as server:
        yield server.make_database()


def size(address: str) -> int:
    """Octets of a database."""
    import psycopg

    with psycopg.connect(address) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])
