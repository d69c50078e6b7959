"""p2pd/storage/state.py: what is published is what is shared, and trackers can follow it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pd.storage.hashing import Stamp
from p2pd.storage.sqlite import MEMORY
from p2pd.storage.state import Changes, Published, State, Withdrawn
from protocol.errors import Fault, LocalProtocolError
from protocol.limits import MIB
from protocol.manifest import Manifest

STAMP = Stamp(3, 1_700_000_000_000_000_001, 2**63 - 1, 4)


def manifest_of(data: bytes) -> Manifest:
    return Manifest(len(data), MIB, hashlib.sha256(data).digest(), blake3(data).digest())


ABC, XYZ = manifest_of(b"abc"), manifest_of(b"xyz")


@pytest.fixture
def state() -> Iterator[State]:
    with State(MEMORY) as state:
        yield state


def share(state: State, path: str, name: str, manifest: Manifest, now: float = 1.0) -> int:
    share_id = state.add_share(path, name, now).share_id
    state.set_shared(share_id, manifest, STAMP, now)
    return share_id


def published(state: State) -> set[tuple[bytes, str]]:
    return {(entry.content_id, entry.name) for entry in state.changes_since(0, 1000).added}


def test_a_share_from_adding_to_removing(state: State) -> None:
    added = state.add_share("/a", "a.txt", 5.0)
    assert (added.state, added.path, added.name, added.origin) == ("hashing", "/a", "a.txt", "add")
    assert (added.content_id, added.sha256, added.stamp, added.added_at) == (None, None, None, 5.0)
    assert state.changes_since(0) == Changes([], [])
    shared = state.set_shared(added.share_id, ABC, STAMP, 6.0)
    assert (shared.state, shared.content_id, shared.sha256) == ("shared", ABC.content_id, ABC.sha256)
    assert (shared.size, shared.stamp, shared.error, shared.revision) == (3, STAMP, None, 1)
    assert shared.stamp is not None
    assert shared.stamp.device == 4
    assert state.get_share(shared.share_id) == shared == state.share_by_path("/a")
    assert state.list_shares() == [shared] == state.shares_by_content(ABC.content_id)
    assert state.changes_since(0).added == [Published(1, ABC.content_id, ABC.sha256, 3, "a.txt", 6.0)]
    assert state.manifest(ABC.content_id) == ABC.encode()
    assert state.remove_share(shared.share_id) == shared
    assert state.changes_since(1) == Changes([], [Withdrawn(2, ABC.content_id, "a.txt")])
    assert state.list_shares() == []
    assert state.manifest(ABC.content_id) is None
    assert state.published_count() == 0


def test_adding_again_changes_nothing(state: State) -> None:
    share_id = share(state, "/a", "a", ABC)
    before = state.get_share(share_id)
    assert state.add_share("/a", "a", 99.0, "download") == before
    assert state.revision == 1


def test_sharing_again_is_no_news(state: State) -> None:
    share_id = share(state, "/a", "a", ABC)
    newer = Stamp(3, 5, 6, 7)
    assert state.set_shared(share_id, ABC, newer, 2.0).stamp == newer
    assert state.revision == 1


def test_adding_under_another_name_renames(state: State) -> None:
    share_id = share(state, "/a", "old", ABC)
    assert state.add_share("/a", "new", 3.0).share_id == share_id
    assert published(state) == {(ABC.content_id, "new")}
    changes = state.changes_since(1)
    assert [entry.name for entry in changes.added] == ["new"]
    assert [entry.name for entry in changes.removed] == ["old"]


def test_a_new_name_before_hashing_ends_is_the_one_that_counts(state: State) -> None:
    share_id = state.add_share("/a", "old", 1.0).share_id
    state.add_share("/a", "new", 1.0)
    assert state.revision == 0
    state.set_shared(share_id, ABC, STAMP, 2.0)
    assert published(state) == {(ABC.content_id, "new")}


def test_the_same_content_and_name_is_published_once(state: State) -> None:
    first = share(state, "/one/a", "a", ABC)
    second = share(state, "/two/a", "a", ABC)
    other = share(state, "/three/b", "b", ABC)
    assert state.revision == 2
    assert published(state) == {(ABC.content_id, "a"), (ABC.content_id, "b")}
    assert {found.share_id for found in state.shares_by_content(ABC.content_id)} == {first, second, other}
    state.withdraw(first, "missing", "gone")
    assert state.revision == 2
    state.remove_share(second)
    assert state.changes_since(2) == Changes([], [Withdrawn(3, ABC.content_id, "a")])
    assert state.manifest(ABC.content_id) is not None
    assert [found.state for found in state.shares_by_content(ABC.content_id)] == ["shared", "missing"]


@pytest.mark.parametrize("why", ["hashing", "changed", "missing", "error"])
def test_withdrawn_and_back(state: State, why: str) -> None:
    share_id = share(state, "/a", "a", ABC, 1.0)
    withdrawn = state.withdraw(share_id, why, "because")
    assert (withdrawn.state, withdrawn.error, withdrawn.revision) == (why, "because", 2)
    assert (withdrawn.content_id, withdrawn.stamp) == (ABC.content_id, STAMP)
    assert state.withdraw(share_id, why).error is None
    assert state.revision == 2
    octets = state.manifest(ABC.content_id)
    assert octets is not None
    back = state.set_shared(share_id, Manifest.decode(octets, ABC.content_id), STAMP, 50.0)
    assert (back.state, back.error) == ("shared", None)
    assert state.changes_since(0) == Changes([Published(3, ABC.content_id, ABC.sha256, 3, "a", 1.0)], [])


def test_changed_content_replaces_what_was_published(state: State) -> None:
    share_id = share(state, "/a", "a", ABC)
    state.set_shared(share_id, XYZ, STAMP, 9.0)
    changes = state.changes_since(1)
    assert changes.removed == [Withdrawn(2, ABC.content_id, "a")]
    assert changes.added == [Published(3, XYZ.content_id, XYZ.sha256, 3, "a", 9.0)]
    assert state.manifest(ABC.content_id) is None
    assert state.manifest(XYZ.content_id) == XYZ.encode()


def test_withdraw_does_not_share(state: State) -> None:
    share_id = share(state, "/a", "a", ABC)
    with pytest.raises(LocalProtocolError):
        state.withdraw(share_id, "shared")


def test_unknown_shares(state: State) -> None:
    for call in (
        lambda: state.get_share(1),
        lambda: state.remove_share(1),
        lambda: state.withdraw(1, "error"),
        lambda: state.set_shared(1, ABC, STAMP, 1.0),
    ):
        with pytest.raises(Fault) as caught:
            call()
        assert caught.value.code == "not_found"
    assert state.share_by_path("/a") is None
    assert state.shares_by_content(ABC.content_id) == []
    assert state.manifest(ABC.content_id) is None
    assert state.revision == 0


def test_changes_in_pages(state: State) -> None:
    for number in range(7):
        share(state, f"/{number}", f"{number}", ABC)
    state.remove_share(2)
    seen: list[int] = []
    revision = 0
    while True:
        added, removed = state.changes_since(revision, 3)
        page = sorted([entry.revision for entry in added] + [entry.revision for entry in removed])
        if not page:
            break
        assert len(page) <= 3
        seen += page
        revision = page[-1]
    assert seen == [1, 3, 4, 5, 6, 7, 8]
    assert revision == state.revision


def test_old_withdrawals_are_forgotten_and_that_is_told(state: State) -> None:
    for number in range(5):
        state.remove_share(share(state, f"/{number}", f"{number}", ABC))
    assert state.prune_tombstones(5) == 0
    assert state.pruned_revision == 0
    assert state.prune_tombstones(2) == 3
    assert state.pruned_revision == 6
    assert [entry.revision for entry in state.changes_since(0).removed] == [8, 10]
    assert state.prune_tombstones(0) == 2
    assert state.pruned_revision == 10


def test_shares_in_pages(state: State) -> None:
    ids = [state.add_share(f"/{number}", "a", 1.0).share_id for number in range(5)]
    assert [found.share_id for found in state.list_shares(2)] == ids[:2]
    assert [found.share_id for found in state.list_shares(2, ids[1])] == ids[2:4]
    assert [found.share_id for found in state.list_shares(after=ids[3])] == ids[4:]


def test_a_path_that_is_not_utf8(state: State) -> None:
    path = "/odd/\udcff\udc80"
    assert state.add_share(path, "odd", 1.0).path == path
    found = state.share_by_path(path)
    assert found is not None
    assert found.path == path


def test_manifest_of_a_download_stays_until_the_download_is_forgotten(state: State) -> None:
    state.put_manifest(ABC)
    state.put_manifest(ABC)
    row = state.add_download(ABC.content_id, "a", 3, "/d", "a", 1.0)
    state.remove_share(share(state, "/a", "a", ABC))
    assert state.manifest(ABC.content_id) == ABC.encode()
    state.set_state(row.transfer_id, "cancelled")
    state.forget(row.transfer_id)
    assert state.manifest(ABC.content_id) is None


def test_it_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with State(path) as state:
        assert state.opened()
        epoch = state.share_epoch
        assert len(epoch) == 8
        shared = state.get_share(share(state, "/a", "a", ABC))
    with State(path) as state:
        assert not state.opened()  # the first run did not say that it ended in order
        assert state.share_epoch == epoch
        assert state.revision == 1
        assert state.list_shares() == [shared]
        state.mark_clean()
    with State(path) as state:
        assert state.opened()
        assert not state.opened()


def test_each_history_has_its_own_epoch() -> None:
    with State(MEMORY) as one, State(MEMORY) as two:
        assert one.share_epoch != two.share_epoch


def test_threads_get_one_revision_each(state: State) -> None:
    start = threading.Barrier(4)

    def add(thread: int) -> None:
        start.wait(10)
        for number in range(10):
            share(state, f"/{thread}/{number}", f"{thread}-{number}", ABC)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(entry.revision for entry in state.changes_since(0).added) == list(range(1, 41))


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "share", "share", "withdraw", "remove"]),
        st.sampled_from(["/1", "/2", "/3"]),
        st.sampled_from(["a", "b"]),
        st.sampled_from([ABC, XYZ]),
    ),
    max_size=25,
)


@given(OPERATIONS, st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_a_tracker_that_follows_knows_what_is_shared(
    operations: list[tuple[str, str, str, Manifest]], page: int
) -> None:
    with State(MEMORY) as state:
        listed: set[tuple[bytes, str]] = set()  # what a tracker has that asks after every second operation
        revision = 0
        for step, (what, path, name, manifest) in enumerate(operations):
            found = state.share_by_path(path)
            if what == "add":
                state.add_share(path, name, step)
            elif what == "share":
                share(state, path, name, manifest, step)
            elif found is not None and what == "withdraw":
                state.withdraw(found.share_id, "missing")
            elif found is not None:
                state.remove_share(found.share_id)
            while step % 2:
                added, removed = state.changes_since(revision, page)
                if not added and not removed:
                    break
                events: dict[int, Published | Withdrawn] = {entry.revision: entry for entry in added}
                events.update((gone.revision, gone) for gone in removed)
                for number in sorted(events):
                    assert number > revision
                    revision, entry = number, events[number]
                    key = (entry.content_id, entry.name)
                    if isinstance(entry, Published):
                        listed.add(key)
                    else:
                        listed.discard(key)
            shared = {(row.content_id, row.name) for row in state.list_shares() if row.state == "shared"}
            assert published(state) == shared
            assert state.published_count() == len(shared)
            if step % 2:
                assert listed == shared
            for row in state.list_shares():
                assert row.content_id is None or state.manifest(row.content_id) is not None
