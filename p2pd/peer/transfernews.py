"""What the peer tells of its downloads as events. On the event loop.

The rule: nothing is decided here and nothing waits; each state is told once, in the order in which it was seen.
"""

from __future__ import annotations

import os

from p2pd.events import Events
from p2pd.happenings import (
    TransferCancelled,
    TransferCreated,
    TransferDone,
    TransferFailed,
    TransferState,
    error_of,
)
from p2pd.peer.transfer import Transfer
from p2pd.storage.state import Download
from protocol.ids import content_text


class TransferNews:
    """See the module. Look at a download whenever it may have changed."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._told: dict[str, str] = {}

    def began(self, transfer: Transfer, previous: str | None) -> None:
        """It entered the queue: asked for (None), tried again (what it was before), or taken up at a start (the state itself)."""
        row = transfer.row
        if previous is None:
            path = os.path.join(row.directory, row.target_name)
            id, files = content_text(row.content_id), row.files or None
            self._events.tell(TransferCreated(row.transfer_id, id, row.name, path, row.size, files))
        self._told[row.transfer_id] = previous or transfer.phase
        self.look(transfer)

    def look(self, transfer: Transfer) -> None:
        """Tells its state when that is another than it was."""
        row = transfer.row
        before = self._told.get(row.transfer_id)
        state = transfer.phase
        if before is None or before == state:
            return
        if row.final:
            del self._told[row.transfer_id]
            self._over(transfer, row)
            return
        self._told[row.transfer_id] = state
        problem = transfer.problem if state not in ("downloading", "verifying") else None
        error = None if problem is None else error_of(problem)
        self._events.tell(TransferState(row.transfer_id, row.name, state, before, error))

    def _over(self, transfer: Transfer, row: Download) -> None:
        id = content_text(row.content_id)
        if row.state == "done":
            assert row.path is not None
            assert row.finished_at is not None
            seconds = round(max(0.0, row.finished_at - row.created_at), 3)
            sources = len({*row.givers, *transfer.givers.values()})
            self._events.tell(
                TransferDone(
                    row.transfer_id, id, row.name, row.path, row.size, row.files or None, seconds, sources
                )
            )
        elif row.state == "failed":
            error = {"code": row.error_code or "failure", "message": row.error or "", "hint": ""}
            path = os.path.join(row.directory, row.target_name)
            self._events.tell(TransferFailed(row.transfer_id, id, row.name, path, error))
        else:
            self._events.tell(TransferCancelled(row.transfer_id, id, row.name))
