"""What changed in our published list, as trackers are told it. Reads the state and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from p2pd.storage.state import State
from protocol.errors import RemoteProtocolError
from protocol.names import check_path
from protocol.tracker import Entry, Gone

PAGE = 200


def changes(store: State, known: int) -> Iterator[tuple[int, Entry | Gone]]:
    """What changed after revision `known`, by revision, read page by page."""
    while True:
        page = store.changes_since(known, PAGE)
        items: list[tuple[int, Entry | Gone]] = [
            (c.revision, Entry(c.content_id, c.sha256, c.size, c.name, int(c.added_at), c.files))
            for c in page.added
        ]
        items += [(c.revision, Gone(c.content_id, c.name)) for c in page.removed]
        if not items:
            return
        for revision, item in sorted(items, key=lambda pair: pair[0]):
            try:
                check_path(item.name)
            except RemoteProtocolError:
                continue  # one name that no tracker takes must not hold up all others
            yield revision, item
        known = max(revision for revision, _ in items)
