"""Many small files in one command: quotas of the tracker slow nothing down noticeably and fail nothing."""

from __future__ import annotations

import time
from pathlib import Path

from tests.fakes.processes import Swarm, make_file, sha256

COUNT = 60


def test_add_and_download_many(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker), swarm.peer("bob", tracker).connected()
    source = swarm.folder("source")
    originals = [make_file(source / f"file {i:03}.bin", 4000 + i, seed=i) for i in range(COUNT)]
    began = time.monotonic()
    items = alice.ok("add", *originals)
    assert len(items) == COUNT
    assert all(item["published"] for item in items)
    assert time.monotonic() - began < 8.0, "published as they come, not once in an announce interval"
    assert alice.ctl("search", "file").status == 0, "publishing leaves the searches of a person alone"
    ids = [str(item["id"]) for item in bob.ok("all_files")]
    assert len(ids) == COUNT
    items = bob.ok("download", *ids, cwd=swarm.folder("in"))
    assert len(items) == COUNT
    assert {sha256(Path(item["path"])) for item in items} == {sha256(path) for path in originals}
