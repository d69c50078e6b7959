"""p2pd/peer/owner.py: what a driver may be given."""

from __future__ import annotations

from p2pd.peer.owner import Owner
from p2pd.storage.root import StorageError


def test_who_does_not_want_to_know_each_piece_is_not_told() -> None:
    failures: list[StorageError] = []
    owner = Owner(
        lambda: None, failures.append, lambda peer, reason: None, lambda peer: None, lambda bits: None
    )
    assert owner.piece is None
    error = StorageError("no")
    owner.failed(error)
    assert failures == [error]
