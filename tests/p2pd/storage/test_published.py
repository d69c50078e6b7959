"""p2pd/storage/published.py: revisions are given to what changed, and to nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pd.storage.published import Public, publish, unpublish
from p2pd.storage.state import State

ONE = Public(b"1" * 32, "one", bytes(32), 1)
TWO = Public(b"2" * 32, "two", bytes(32), 2, 7)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State(tmp_path / "peer.db") as opened:
        yield opened


def test_each_gets_a_revision_of_its_own(state: State) -> None:
    with state.transaction() as cursor:
        publish(cursor, [ONE, TWO], 1.0)
    added = state.changes_since(0).added
    assert [(row.revision, row.name, row.size, row.files, row.added_at) for row in added] == [
        (1, "one", 1, 0, 1.0),
        (2, "two", 2, 7, 1.0),
    ]


def test_only_news_count(state: State) -> None:
    with state.transaction() as cursor:
        publish(cursor, [ONE], 1.0)
        publish(cursor, [ONE], 2.0)
        publish(cursor, [], 2.0)
        unpublish(cursor, [(TWO.content_id, TWO.name)])
    assert state.revision == 1


def test_withdrawn_and_public_again_keeps_its_date(state: State) -> None:
    with state.transaction() as cursor:
        publish(cursor, [ONE, TWO], 1.0)
        unpublish(cursor, [(ONE.content_id, ONE.name)])
    assert [row.revision for row in state.changes_since(2).removed] == [3]
    with state.transaction() as cursor:
        publish(cursor, [ONE], 9.0)
    again = state.changes_since(3).added
    assert [(row.revision, row.name, row.added_at) for row in again] == [(4, "one", 1.0)]
