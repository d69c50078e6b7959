"""Limits of bandwidth that were set at run time, as they survive a restart. Synchronous; knows no meaning of a limit."""

from __future__ import annotations

from p2pd.storage.sqlite import Database


def rate_limits(database: Database) -> dict[str, int]:
    """Direction ("up", "down") -> octets a second, 0 for none; a direction that was not set is missing."""
    return dict(database.query("SELECT direction, bytes_per_s FROM rate_limit"))  # type: ignore[arg-type]


def set_rate_limit(database: Database, direction: str, rate: int | None) -> None:
    """Keeps a limit; None forgets it."""
    if rate is None:
        database.execute("DELETE FROM rate_limit WHERE direction = ?", (direction,))
    else:
        database.execute("INSERT OR REPLACE INTO rate_limit VALUES (?, ?)", (direction, rate))
