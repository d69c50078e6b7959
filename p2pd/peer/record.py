"""The row of one download and the only way to change its state. On the event loop.

The rule: what is in memory is what the database says; a state that could not be recorded is not a state.
"""

from __future__ import annotations

from collections.abc import Callable

from p2pd.storage.state import Download, State
from protocol.errors import Fault


def _nobody() -> None:
    """Nobody wants to know."""


class Record:
    """`row` as it was last written or read; `moved()` is called when its state changed."""

    def __init__(self, store: State, row: Download, moved: Callable[[], object] = _nobody) -> None:
        self.row = row
        self.moved = moved
        self._store = store

    def set(self, state: str, fault: Fault | None = None, **more: float | str | None) -> None:
        """Moves it to a state; `fault` says why. Raises StorageError when the database cannot be written: nothing changed then."""
        self.set_with(_nobody, state, fault, **more)

    def set_with(
        self, also: Callable[[], object], state: str, fault: Fault | None = None, **more: float | str | None
    ) -> None:
        """As `set`; what `also()` writes to the database is written with it, or neither is."""
        with self._store.transaction():
            self._store.set_state(
                self.row.transfer_id,
                state,
                error_code=fault.code if fault else None,
                error=fault.message if fault else None,
                **more,  # type: ignore[arg-type]
            )
            also()
        self.reload()
        self.moved()

    def reload(self) -> None:
        """Reads what other methods of the store changed."""
        self.row = self._store.get_download(self.row.transfer_id)
