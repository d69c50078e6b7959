"""Programs that are to run because a download ended, as they survive a kill. Every method is one transaction; any thread may call.

The rule: what is to run is written in the transaction that ends the download, and that it runs before it does: so after a kill it is known
which ran, which did not, and which may have.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2pd.storage.sqlite import Database
from p2pd.storage.state_downloads import number_of


@dataclass(frozen=True, slots=True)
class Due:
    """One run of a hook: `name` of its setting, and the download that it is about."""

    number: int
    name: str
    transfer_id: str
    started: bool


class HookRuns(Database):
    """The part of State that is about hooks."""

    def add_hook(self, name: str, transfer_id: str) -> None:
        """It is to run. Call it in the transaction that is the reason."""
        self.execute("INSERT INTO hook (name, transfer) VALUES (?, ?)", (name, number_of(transfer_id)))

    def hooks(self) -> list[Due]:
        """Those that did not end yet, oldest first."""
        rows = self.query("SELECT * FROM hook ORDER BY number")
        return [
            Due(row["number"], row["name"], f"t-{row['transfer']}", row["started_at"] is not None)
            for row in rows
        ]

    def start_hook(self, number: int, now: float) -> None:
        """It runs from now on."""
        self.execute("UPDATE hook SET started_at = ? WHERE number = ?", (now, number))

    def end_hook(self, number: int) -> None:
        """It ran, or will never."""
        self.execute("DELETE FROM hook WHERE number = ?", (number,))
