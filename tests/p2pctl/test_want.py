"""p2pctl want: said at once, or waited for until the file is there; and what becomes of a wait that ends early."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.errors import Fault
from tests.fakes.schemas import validate
from tests.p2pctl import samples
from tests.p2pctl.conftest import Daemon, Run

STARTED = samples.want(state="started", transfer="t-1", transfer_state="running", path="/data/downloaded_a")
DONE = samples.transfer(path="/data/downloaded_a")


@pytest.fixture
def waited(daemon: Daemon) -> Daemon:
    """A daemon where what is wanted comes at once."""
    daemon.on.update({"want": samples.want(), "await_want": STARTED, "wait": DONE})
    return daemon


def test_without_waiting(daemon: Daemon, p2pctl: Run) -> None:
    daemon.on["want"] = samples.want()
    got = p2pctl(
        "want", "holiday", "video", "--ext", ".mp4", "--min-size", "1K", "--no-share", "--limit", "2K"
    )
    assert (got.status, got.out, got.err) == (0, "w-1\n", "Wanted: holiday video, into /data\n")
    [params] = daemon.params("want")
    assert (params["text"], params["ext"], params["min_size_bytes"]) == ("holiday video", "mp4", 1024)
    assert (params["share"], params["limit_bytes_per_s"], params["exists"]) == (False, 2048, "fail")
    validate("want", p2pctl("--json", "want", "holiday").document)
    assert p2pctl("--tsv", "want", "x", "--columns", "want,state").out == "w-1\twanted\n"
    assert p2pctl("-q", "want", "x").out == "w-1\n"


def test_waiting(waited: Daemon, p2pctl: Run) -> None:
    got = p2pctl("want", "holiday", "--wait")
    assert (got.status, got.out) == (0, "/data/downloaded_a\n")
    assert "Waiting for holiday video (w-1)" in got.err
    assert "Downloaded" in got.err
    assert p2pctl("-q", "want", "holiday", "--wait").out == "/data/downloaded_a\n"
    document = p2pctl("--json", "want", "holiday", "--wait").document
    validate("want", document)
    assert document["items"] == [{**STARTED, "transfer_state": "done"}]


def test_no_tracker_listens(waited: Daemon, p2pctl: Run) -> None:
    error = {"code": "auth", "message": "another password", "hint": "h"}
    waited.on["want"] = samples.want(error=error)
    got = p2pctl("want", "holiday")
    assert (got.status, got.out) == (0, "w-1\n")
    assert "p2pctl: another password; w-1 stays wanted" in got.err
    waited.on["await_want"] = Fault("auth", "another password", "h")
    got = p2pctl("--json", "want", "holiday", "--wait")
    assert (got.status, got.out) == (8, "")
    assert got.error["message"] == "another password; w-1 stays wanted"


@pytest.mark.parametrize("code", ["timeout", "no_daemon"])
def test_a_wait_that_ends_early_leaves_the_want(waited: Daemon, p2pctl: Run, code: str) -> None:
    waited.on["await_want"] = Fault(code, "too late")
    got = p2pctl("--json", "want", "holiday", "--wait")
    assert (got.status, got.out) == ({"timeout": 6, "no_daemon": 3}[code], "")
    assert "w-1 stays wanted" in got.error["message"]
    assert "p2pctl unwant w-1" in got.error["hint"]


@pytest.mark.parametrize(
    ("state", "left", "hint"),
    [
        ("downloading", "t-7 goes on", "wait again with: p2pctl wait t-7"),
        ("paused", "t-7 is paused", "p2pctl resume t-7 lets it go on"),
    ],
)
def test_what_it_became_is_waited_for_as_other_transfers(
    waited: Daemon, p2pctl: Run, state: str, left: str, hint: str
) -> None:
    waited.on["await_want"] = samples.want(state="started", transfer="t-7")
    waited.on["wait"] = lambda request, send: send({"transfer": "t-7", "name": "a", "state": state})
    got = p2pctl("--json", "want", "holiday", "--wait", "--timeout", "0.3")
    assert (got.status, got.out) == (6, "")
    assert (got.error["message"], got.error["hint"]) == (f"not done within 0.3 s; {left}", hint)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (
            {
                "await_want": samples.want(
                    state="failed", error={"code": "exists", "message": "m", "hint": ""}
                )
            },
            11,
        ),
        (
            {
                "wait": samples.transfer(
                    state="failed", error={"code": "integrity", "message": "m", "hint": ""}
                )
            },
            9,
        ),
        ({"await_want": Fault("not_found", "given up")}, 4),
    ],
)
def test_what_fails(waited: Daemon, p2pctl: Run, change: dict[str, Any], status: int) -> None:
    waited.on.update(change)
    got = p2pctl("--json", "want", "holiday", "--wait")
    assert (got.status, got.out) == (status, "")


@pytest.mark.parametrize(
    "words",
    [
        ("x", "-o", "-"),
        ("x", "-o", "/nowhere/"),
        ("x", "-o", "f", "--prefix", "p"),
        ("x", "--exists", "skip"),
    ],
)
def test_what_makes_no_sense(p2pctl: Run, words: tuple[str, ...]) -> None:
    assert p2pctl("want", *words).status == 2


def test_unwant_everything_and_what_is_over(daemon: Daemon, p2pctl: Run) -> None:
    daemon.on["wants"] = samples.page(samples.want(), samples.want(want="w-2"))
    daemon.on["unwant"] = lambda request, send: samples.want(
        want=request.params["want"], changed=request.params["want"] == "w-1"
    )
    got = p2pctl("unwant", "--all")
    assert (got.status, got.out) == (0, "Gave up w-1 (holiday video)\n")
    assert "w-2 is over" in got.err
    assert p2pctl("unwant").status == 2
    assert p2pctl("unwant", "--all", "w-1").status == 2
