"""p2pctl tracker: its four words, and what cannot be."""

from __future__ import annotations

import pytest

from tests.fakes.schemas import validate
from tests.p2pctl import samples
from tests.p2pctl.conftest import Daemon, Run
from tests.p2pctl.samples import HOSTILE, ID, SAFE, page

FIGURES = {
    "kind": "status",
    **dict.fromkeys(("devices", "files", "bans", "sessions", "connections", "wants", "waiting"), 2),
    **dict.fromkeys(("announces", "publishes", "searches", "failed_proofs"), 3),
    "refusals": 5,
    "refusals_by_reason": {"banned": 4, "busy": 1},
    "received_bytes": 2048,
    "sent_bytes": 1024,
}


def test_status(daemon: Daemon, p2pctl: Run) -> None:
    daemon.on["tracker_status"] = FIGURES
    document = p2pctl("--json", "tracker", "status").document
    validate("tracker", document)
    assert document["items"] == [FIGURES]
    assert p2pctl("tracker", "status").out == (
        "devices    2 here, 2 files, 2 banned\n"
        "sessions   2 of 2 connections\n"
        "wanted     2 by 2 devices\n"
        "requests   3 announces, 3 lists, 3 searches\n"
        "refused    5 (4 banned, 1 busy)\n"
        "passwords  3 wrong\n"
        "octets     2.0 KiB in, 1.0 KiB out\n"
    )
    assert p2pctl("--tsv", "tracker", "status", "--columns", "devices,refusals").out == "2\t5\n"


def test_files_with_words_and_pages(daemon: Daemon, p2pctl: Run) -> None:
    hit = {"kind": "file", **samples.hit(name=HOSTILE)}
    daemon.on["tracker_files"] = lambda request, send: (
        {**page(hit), "next": None if request.params["cursor"] else "c"}
    )
    got = p2pctl("--json", "tracker", "files", "holiday", "video")
    validate("tracker", got.document)
    assert got.document["items"] == [hit, hit]
    assert [request["text"] for request in daemon.params("tracker_files")] == ["holiday video"] * 2
    human = p2pctl("tracker", "files").out
    assert human.splitlines()[0].split() == ["ID", "SIZE", "SOURCES", "NAME"]
    assert human.count(SAFE) == 2
    assert p2pctl("-q", "tracker", "files").out == f"{ID}\n{ID}\n"


def test_expire(daemon: Daemon, p2pctl: Run) -> None:
    daemon.on["tracker_expire"] = {"kind": "expired", "device_id": None, "forgotten": 7}
    assert p2pctl("tracker", "expire").out == "Forgot 7 devices and entries\n"
    got = p2pctl("--json", "tracker", "expire", "dddddd")
    validate("tracker", got.document)
    assert [request["device"] for request in daemon.params("tracker_expire")] == [None, "dddddd"]


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        (),
        ("status", "x"),
        ("peers", "x"),
        ("expire", "x", "y"),
        ("expire", "--limit", "3"),
        ("status", "--cursor", "c"),
    ],
)
def test_what_makes_no_sense(p2pctl: Run, words: tuple[str, ...]) -> None:
    got = p2pctl("--json", "tracker", *words)
    assert (got.status, got.out) == (2, "")
