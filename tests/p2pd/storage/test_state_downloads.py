"""p2pd/storage/state_downloads.py: a download as it is found again after a restart."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pd.storage.hashing import FileIdentity
from p2pd.storage.sqlite import MEMORY
from p2pd.storage.state import State
from p2pd.storage.state_downloads import DOWNLOAD_STATES, FINAL_STATES, Download, Source, number_of
from protocol.errors import Fault, LocalProtocolError

CONTENT = bytes(range(32))
OTHER = bytes(32)


@pytest.fixture
def state() -> Iterator[State]:
    with State(MEMORY) as state:
        yield state


def add(state: State, now: float = 1.0, content_id: bytes = CONTENT) -> Download:
    return state.add_download(content_id, "a.txt", 100, "/d", "downloaded_a.txt", now)


def test_a_download_is_recorded_before_its_first_octet(state: State) -> None:
    row = state.add_download(
        CONTENT,
        "a",
        5,
        "/d\udcff",
        "b\udcff",
        7.5,
        exists_policy="rename",
        check_sha256="ab" * 32,
        share=False,
        from_user=True,
    )
    assert row == Download(
        transfer_id="t-1",
        content_id=CONTENT,
        name="a",
        size=5,
        directory="/d\udcff",
        target_name="b\udcff",
        part_name="",
        exists_policy="rename",
        state="queued",
        error_code=None,
        error=None,
        created_at=7.5,
        finished_at=None,
        path=None,
        resumed_bytes=0,
        received_bytes=0,
        check_sha256="ab" * 32,
        share=False,
        from_user=True,
        part_stamp=None,
        committed=b"",
    )
    assert state.get_download("t-1") == row
    assert add(state).transfer_id == "t-2"


def test_progress(state: State) -> None:
    add(state)
    identity = FileIdentity(2**63 - 1, 9)
    state.set_part("t-1", "part", identity)
    row = state.get_download("t-1")
    assert (row.part_name, row.part_stamp, row.committed, row.resumed_bytes) == ("part", identity, b"", 0)
    state.commit_pieces("t-1", b"\x80", 60)
    row = state.get_download("t-1")
    assert (row.committed, row.received_bytes, row.part_stamp) == (b"\x80", 60, identity)
    state.set_part("t-1", "part", identity, b"\xc0", 80)  # reopened; what was found is held
    row = state.get_download("t-1")
    assert (row.committed, row.resumed_bytes, row.received_bytes) == (b"\xc0", 80, 60)


def test_an_error_does_not_outlive_its_state(state: State) -> None:
    add(state)
    state.set_state("t-1", "failed", error_code="storage", error="broken", finished_at=3.0)
    row = state.get_download("t-1")
    assert (row.state, row.error_code, row.error, row.finished_at, row.final) == (
        "failed",
        "storage",
        "broken",
        3.0,
        True,
    )
    state.set_state("t-1", "queued")
    row = state.get_download("t-1")
    assert (row.state, row.error_code, row.error, row.finished_at, row.final) == (
        "queued",
        None,
        None,
        None,
        False,
    )
    state.set_state("t-1", "done", finished_at=4.0, path="/d/\udcff")
    assert state.get_download("t-1").path == "/d/\udcff"


def test_every_state_is_known_to_the_database_and_no_other(state: State) -> None:
    add(state)
    for name in DOWNLOAD_STATES:
        state.set_state("t-1", name)
        assert state.get_download("t-1").state == name
    with pytest.raises(LocalProtocolError):
        state.set_state("t-1", "asleep")
    with pytest.raises(sqlite3.IntegrityError):
        state.set_target("t-1", "/d", "a", "whatever")


def test_target_can_change(state: State) -> None:
    add(state)
    state.set_target("t-1", "/e", "b", "overwrite")
    row = state.get_download("t-1")
    assert (row.directory, row.target_name, row.exists_policy) == ("/e", "b", "overwrite")


def test_active_are_taken_up_again(state: State) -> None:
    expected = []
    for name in sorted(DOWNLOAD_STATES):
        transfer_id = add(state).transfer_id
        state.set_state(transfer_id, name)
        if name not in FINAL_STATES:
            expected.append(transfer_id)
            if name == "running":
                expected.insert(0, expected.pop())  # what was running goes on before the others
    assert [row.transfer_id for row in state.active_downloads()] == expected


def test_tries_are_counted_and_their_time_is_of_one_state(state: State) -> None:
    add(state)
    state.set_state("t-1", "queued", error_code="network", error="nobody", retry_at=60.5, retries=3)
    row = state.get_download("t-1")
    assert (row.state, row.retries, row.retry_at, row.error_code) == ("queued", 3, 60.5, "network")
    state.set_state("t-1", "running")
    row = state.get_download("t-1")
    assert (row.retries, row.retry_at, row.error_code) == (3, None, None)
    state.set_state("t-1", "queued", retries=0)
    assert state.get_download("t-1").retries == 0


def test_list_in_pages_newest_first(state: State) -> None:
    for _ in range(12):
        add(state)
    assert [row.transfer_id for row in state.list_downloads(3)] == ["t-12", "t-11", "t-10"]
    assert [row.transfer_id for row in state.list_downloads(2, "t-10")] == ["t-9", "t-8"]
    assert len(state.list_downloads()) == 12


def test_where_finished_ones_were_put(state: State) -> None:
    for number, (content, end) in enumerate(
        [(CONTENT, "done"), (CONTENT, "failed"), (b"o" * 32, "done"), (CONTENT, "done")]
    ):
        row = state.add_download(content, "a", 5, "/d", str(number), 1.0)
        state.set_state(row.transfer_id, end, finished_at=2.0, path=f"/d/{number}\udcff")
    assert state.finished_paths(CONTENT) == ["/d/3\udcff", "/d/0\udcff"]
    assert state.finished_paths(bytes(32)) == []


def test_forget(state: State) -> None:
    add(state)
    with pytest.raises(LocalProtocolError):
        state.forget("t-1")
    state.set_state("t-1", "done")
    state.forget("t-1")
    assert state.list_downloads() == []
    assert add(state).transfer_id == "t-2"  # an id is never used again


def test_forget_older(state: State) -> None:
    for finished_at in (5.0, 10.0, None):
        transfer_id = add(state).transfer_id
        state.set_state(transfer_id, "queued" if finished_at is None else "done", finished_at=finished_at)
    assert state.forget_older(10.0) == 1
    assert [row.transfer_id for row in state.list_downloads()] == ["t-3", "t-2"]


@pytest.mark.parametrize(
    "transfer_id", ["t-1", "t-", "t-x", "1", "", "t--1", "t-\u0661", "t-" + "9" * 30, "T-1"]
)
def test_unknown_ids(state: State, transfer_id: str) -> None:
    for call in (
        lambda: state.get_download(transfer_id),
        lambda: state.set_state(transfer_id, "done"),
        lambda: state.commit_pieces(transfer_id, b"", 0),
        lambda: state.set_part(transfer_id, "p", FileIdentity(1, 1)),
        lambda: state.forget(transfer_id),
    ):
        with pytest.raises(Fault) as caught:
            call()
        assert caught.value.code == "not_found"


def test_number_of() -> None:
    assert number_of("t-12") == 12


def test_sources_latest_first_one_a_device(state: State) -> None:
    state.remember_source(CONTENT, b"d1", "192.0.2.1", 8001, 10.0)
    state.remember_source(CONTENT, b"d2", "2001:db8::2", 8002, 20.0)
    state.remember_source(CONTENT, b"d1", "192.0.2.9", 8009, 30.0)
    state.remember_source(OTHER, b"d3", "192.0.2.3", 8003, 40.0)
    assert state.sources(CONTENT, 0.0) == [
        Source(b"d1", "192.0.2.9", 8009, 30.0),
        Source(b"d2", "2001:db8::2", 8002, 20.0),
    ]
    assert [source.device_id for source in state.sources(CONTENT, 20.0)] == [b"d1"]
    assert state.forget_sources(30.0) == 1
    assert [source.device_id for source in state.sources(CONTENT, 0.0)] == [b"d1"]


def test_it_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with State(path) as state:
        add(state)
        state.set_part("t-1", "part", FileIdentity(5, 6))
        state.commit_pieces("t-1", b"\xf0", 44)
        row = state.get_download("t-1")
    with State(path) as state:
        assert state.active_downloads() == [row]
