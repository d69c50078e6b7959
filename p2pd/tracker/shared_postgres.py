"""What trackers tell each other through the PostgreSQL registry beside shares: that they are there, bans, who fetches what.

The rule: each function is part of its caller's transaction. That a tracker is there is measured by the database's clock alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from p2pd.net.bans import Ban
from p2pd.tracker.postgres import LOCK_BANS, LOCK_PRESENCE, Cursor, Postgres, lock
from p2pd.tracker.registry import Card, RegistryFull
from protocol.limits import MAX_SOURCES

AWAY_SECONDS = 60.0  # without a word of any tracker: then devices could not renew their leases
ALIVE = f"seen > clock_timestamp() - interval '{AWAY_SECONDS} s'"
_REMEMBERED = "interval '1 day'"  # a tracker that was killed


def beat(cursor: Cursor, tracker: int, now: float, lifetime: float) -> int:
    """Says that a tracker reaches the database; returns its row, a new one for 0. After a time in which none could, the absent
    are absent from `now` on, and all others get a lease of `lifetime` seconds.
    """
    lock(cursor, LOCK_PRESENCE)
    alive = cursor.execute(
        f"SELECT 1 FROM tracker WHERE {ALIVE} LIMIT 1",
    ).fetchone()
    if alive is None:
        cursor.execute(
            "UPDATE device SET lease = CASE WHEN here THEN %s ELSE LEAST(lease, %s) END",
            (now + lifetime, now),
        )
    cursor.execute(f"DELETE FROM tracker WHERE seen < clock_timestamp() - {_REMEMBERED}")
    row = cursor.execute(
        "UPDATE tracker SET seen = clock_timestamp() WHERE id = %s RETURNING id", (tracker,)
    ).fetchone()
    if row is None:
        row = cursor.execute("INSERT INTO tracker DEFAULT VALUES RETURNING id").fetchone()
    assert row is not None
    return int(row[0])


def trackers(cursor: Cursor) -> int:
    """How many said so lately."""
    row = cursor.execute(
        f"SELECT COUNT(*) FROM tracker WHERE {ALIVE}",
    ).fetchone()
    assert row is not None
    return int(row[0])


def ban(cursor: Cursor, ban: Ban, now: float, most: int) -> None:
    """See Registry.ban."""
    cursor.execute("SET LOCAL synchronous_commit = on")  # nobody makes a ban again that is lost
    lock(cursor, LOCK_BANS)
    cursor.execute("DELETE FROM ban WHERE until <= %s OR subject = %s", (now, ban.subject))
    count = cursor.execute("SELECT COUNT(*) FROM ban").fetchone()
    if count is not None and count[0] >= most:
        raise RegistryFull("too many bans")
    cursor.execute(
        "INSERT INTO ban (subject, until, reason, since) VALUES (%s, %s, %s, %s)",
        (ban.subject, ban.until, ban.reason, ban.since),
    )


def unban(cursor: Cursor, subject: str) -> bool:
    """See Registry.unban."""
    cursor.execute("SET LOCAL synchronous_commit = on")
    return cursor.execute("DELETE FROM ban WHERE subject = %s", (subject,)).rowcount > 0


def bans(database: Postgres, now: float) -> list[Ban]:
    """See Registry.bans."""
    rows = database.query(
        "SELECT subject, until, reason, since FROM ban WHERE until > %s ORDER BY subject", (now,)
    )
    return [Ban(*row) for row in rows]


class SharedFetchers:
    """As fetching.Fetchers, for all trackers of a database: who downloads at one of them is a source for who asks at another.

    Raises RegistryError.
    """

    def __init__(self, database: Postgres) -> None:
        self._database = database

    def announced(self, card: Card, now: float, until: float) -> None:
        """See Fetchers. The lease is known already."""

    def set(self, device_id: bytes, contents: Iterable[bytes], now: float) -> bool:
        """See Fetchers."""
        wanted = sorted(set(contents))

        def work(cursor: Cursor) -> bool:
            # the row is held, so that what a device says first does not come last
            here = cursor.execute(
                "SELECT 1 FROM device WHERE device_id = %s AND lease > %s FOR UPDATE", (device_id, now)
            ).fetchone()
            if here is None:
                return False
            cursor.execute(
                "DELETE FROM fetching WHERE device_id = %s AND content_id <> ALL (%s::bytea[])",
                (device_id, wanted),
            )
            cursor.execute(
                "INSERT INTO fetching (content_id, device_id) SELECT content_id, %s"
                " FROM unnest(%s::bytea[]) AS n (content_id) ON CONFLICT DO NOTHING",
                (device_id, wanted),
            )
            return True

        return self._database.run(work)

    def left(self, device_id: bytes) -> None:
        """See Fetchers. A lease that has ended hides it too."""
        self._database.run(
            lambda cursor: cursor.execute(
                "DELETE FROM fetching f WHERE f.device_id = %s"
                " AND NOT EXISTS (SELECT 1 FROM device d WHERE d.device_id = f.device_id AND d.here)",
                (device_id,),
            )
        )

    def of(self, content_id: bytes, now: float) -> list[Card]:
        """See Fetchers. Some of them, when they are very many."""
        rows = self._database.query(
            "SELECT d.device_id, d.observed, d.declared, d.port FROM fetching f JOIN device d USING (device_id)"
            " WHERE f.content_id = %s AND d.lease > %s ORDER BY random() LIMIT %s",
            (content_id, now, 4 * MAX_SOURCES),
        )
        return [Card(*row) for row in rows]

    def card(self, device_id: bytes, now: float) -> Card | None:
        """See Fetchers."""
        rows = self._database.query(
            "SELECT device_id, observed, declared, port FROM device WHERE device_id = %s AND lease > %s",
            (device_id, now),
        )
        return Card(*rows[0]) if rows else None

    def expire(self, now: float) -> None:
        """See Fetchers."""
        self._database.run(
            lambda cursor: cursor.execute(
                "DELETE FROM fetching f WHERE NOT EXISTS"
                " (SELECT 1 FROM device d WHERE d.device_id = f.device_id AND d.lease > %s)",
                (now,),
            )
        )
