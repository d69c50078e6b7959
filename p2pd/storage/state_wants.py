"""What is wanted, as it survives a restart. Every method is one transaction; any thread may call; times are arguments (Unix seconds)."""

from __future__ import annotations

from sqlite3 import Row
from typing import NamedTuple

from p2pd.storage.sqlite import Database
from protocol.errors import Fault

WANTED, STARTED, FAILED = "wanted", "started", "failed"


class StoredWant(NamedTuple):
    """`spec`: what and where to, in JSON; `state`: WANTED, STARTED (then `transfer` is the download) or FAILED."""

    want: str
    spec: str
    state: str
    transfer: str | None
    error_code: str | None
    error: str | None
    created_at: float
    changed_at: float


class Wants(Database):
    """The part of State that is about wants."""

    def add_want(self, spec: str, now: float) -> StoredWant:
        """A want; the same again is the one that there is, and waits anew when it was over."""
        with self.transaction() as cursor:
            cursor.execute(
                "INSERT INTO want (spec, state, created_at, changed_at) VALUES (?1, 'wanted', ?2, ?2)"
                " ON CONFLICT (spec) DO UPDATE SET state = 'wanted', transfer = NULL, error_code = NULL, error = NULL,"
                " created_at = ?2, changed_at = ?2 WHERE state <> 'wanted'",
                (spec, now),
            )
            row = cursor.execute("SELECT * FROM want WHERE spec = ?", (spec,)).fetchone()
        return _want(row)

    def get_want(self, want: str) -> StoredWant:
        """Raises Fault not_found."""
        rows = self.query("SELECT * FROM want WHERE want = ?", (_number(want),))
        if not rows:
            raise _unknown(want)
        return _want(rows[0])

    def wants(self, waiting: bool = True) -> list[StoredWant]:
        """Those that wait, or all; the oldest first."""
        return [
            _want(row)
            for row in self.query(
                "SELECT * FROM want WHERE state = 'wanted' OR ? ORDER BY want", (not waiting,)
            )
        ]

    def set_want(
        self, want: str, state: str, now: float, transfer: str | None = None, fault: Fault | None = None
    ) -> None:
        """What became of one that waits; one that is over stays as it is."""
        code, text = (fault.code, fault.message) if fault is not None else (None, None)
        self.execute(
            "UPDATE want SET state = ?, transfer = ?, error_code = ?, error = ?, changed_at = ?"
            " WHERE want = ? AND state = 'wanted'",
            (state, transfer, code, text, now, _number(want)),
        )

    def drop_want(self, want: str) -> bool:
        """Gives one up that waits. False when it is over. Raises Fault not_found."""
        self.get_want(want)
        return self.execute("DELETE FROM want WHERE want = ? AND state = 'wanted'", (_number(want),)) > 0

    def forget_wants(self, before: float) -> int:
        """Removes those that were over at a time; how many."""
        return self.execute("DELETE FROM want WHERE state <> 'wanted' AND changed_at < ?", (before,))


def _want(row: Row) -> StoredWant:
    number, *rest = row
    return StoredWant(f"w-{number}", *rest)


def _number(want: str) -> int:
    digits = want[2:]
    if not (want.startswith("w-") and digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise _unknown(want)
    return int(digits)


def _unknown(want: str) -> Fault:
    return Fault("not_found", f"no want {want!r}", hint="p2pctl wants lists them")
