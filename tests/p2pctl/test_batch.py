"""p2pctl batch: order, statuses, records for programs, and one connection for all."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from p2pctl.batch import MAX_LINE, Tally
from protocol.errors import Fault
from tests.fakes.schemas import validate, validate_item
from tests.p2pctl import samples
from tests.p2pctl.conftest import Daemon, Outcome, Run

PING = {"version": "0.1.0", "uptime_s": 5.0, "pid": 7}


def feed(monkeypatch: pytest.MonkeyPatch, lines: bytes) -> None:
    """Put these lines on stdin."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))


@pytest.fixture
def batch(daemon: Daemon, p2pctl: Run, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs lines: `batch("ping\\nlist", "--jsonl")`."""
    daemon.on["ping"] = PING
    daemon.on["list"] = {"items": [samples.share(files=None)], "next": None}

    def remove(request: Any, send: Any) -> dict[str, Any]:
        if request.params["ref"] == "gone":
            raise Fault("not_found", "'gone' is not shared here", "look again")
        return {**samples.share(name=request.params["ref"]), "removed": True}

    daemon.on["remove"] = remove

    def run(lines: str, *words: str) -> Outcome:
        feed(monkeypatch, lines.encode("utf-8", "surrogateescape"))
        return p2pctl(*[word for word in words if word != "-k"], "batch", *(["-k"] if "-k" in words else []))

    return run


def test_lines_are_answered_in_order_and_comments_are_none(batch: Any, daemon: Daemon) -> None:
    got = batch(
        ["# first\n\n  remove 'a b'\np2pctl remove c", " a comment to sh, nor here\n"][0] + "\nlist\n"
    )
    assert (got.status, got.err) == (0, "")
    assert got.out.splitlines() == [
        "Removed a b from shared files",
        "Removed c from shared files",
        "example.txt - Size: 1024 bytes",
    ]


def test_it_stops_at_the_first_failure(batch: Any, daemon: Daemon) -> None:
    got = batch("remove a\nremove gone\nremove b\n")
    assert (got.status, got.out) == (12, "Removed a from shared files\n")
    assert got.err.splitlines() == [
        "p2pctl: 'gone' is not shared here",
        "  hint: look again",
        "p2pctl: line 2 failed with status 4; what follows is left out (--keep-going goes on)",
    ]
    assert [params["ref"] for params in daemon.params("remove")] == ["a", "gone"]
    assert batch("remove gone\nremove b\n").status == 4


def test_it_goes_on_when_told_to(batch: Any) -> None:
    got = batch("remove gone\nremove b\nnonsense\n", "-k")
    assert (got.status, got.out) == (12, "Removed b from shared files\n")
    assert "line 1 failed with status 4\n" in got.err
    assert "line 3 failed with status 2\n" in got.err
    assert batch("remove gone\nremove gone\n", "-k").status == 4


def test_programs_get_a_record_for_each_line(batch: Any) -> None:
    got = batch(
        "remove a\n\nremove gone\nremove a gone\nhelp\nlist --tsv\nlist 'open\n--bad list\n", "--jsonl", "-k"
    )
    records = [json.loads(line) for line in got.out.splitlines()]
    for record in records:
        validate_item("batch", record)
    assert [(r["line"], r["command"], r["exit"]) for r in records] == [
        (1, "remove", 0),
        (3, "remove", 4),
        (4, "remove", 12),
        (5, "help", 0),
        (6, "list", 0),
        (7, None, 2),
        (8, None, 2),
    ]
    assert records[0]["document"]["items"][0]["name"] == "a"
    assert (records[1]["document"], records[1]["error"]["hint"]) == (None, "look again")
    assert records[2]["document"]["failed"][0]["subject"] == "gone"
    assert records[2]["error"] is None
    assert records[4]["output"].startswith("7f3a91c2")
    assert records[5]["error"]["code"] == records[6]["error"]["code"] == "usage"
    assert (got.status, got.err) == (12, "")


def test_one_document_or_a_table_of_all(batch: Any) -> None:
    document = batch("ping\nlist\n", "--json").document
    validate("batch", document)
    assert [item["document"]["schema"] for item in document["items"]] == ["p2p.ping/1", "p2p.list/1"]
    assert batch("ping\nlist\n", "--tsv").out == "1\tping\t0\n2\tlist\t0\n"
    assert batch("ping\nremove a\n", "-q").out.splitlines() == ["7", samples.ID]


def test_progress_goes_on_while_a_line_runs(batch: Any, daemon: Daemon) -> None:
    event = {
        "transfer": "t-1", "name": "a", "state": "downloading", "received_bytes": 1, "size_bytes": 2,
        "resumed_bytes": 0, "rate_bytes_per_s": 0, "eta_s": None, "sources": 1,
    }  # fmt: skip

    def wait(request: Any, send: Any) -> dict[str, Any]:
        send(event)
        return samples.transfer()

    daemon.on["wait"] = wait
    got = batch("wait t-1\n", "--jsonl", "--progress", "json")
    assert [json.loads(line)["schema"] for line in got.err.splitlines()] == ["p2p.progress/1"]
    assert json.loads(got.out)["document"]["items"][0]["transfer"] == "t-1"


@pytest.mark.parametrize("line", ["batch x", "shell", "--json batch -"])
def test_no_batch_in_a_batch(batch: Any, line: str) -> None:
    got = batch(f"{line}\nping\n")
    assert got.status == 2
    assert "cannot stand in a batch" in got.err
    assert got.out == ""


def test_octets_are_no_document(batch: Any) -> None:
    got = batch("download x -o -\n", "--jsonl")
    assert json.loads(got.out)["error"]["code"] == "usage"


def test_a_line_too_long_is_one_failure(batch: Any) -> None:
    got = batch("remove " + "x" * 3 * MAX_LINE + "\nremove a\n", "-k")
    assert got.status == 12
    assert got.out == "Removed a from shared files\n"
    assert "a line has at most" in got.err


def test_a_file_and_names_that_are_no_utf_8(batch: Any, p2pctl: Run, tmp_path: Path, daemon: Daemon) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"remove a\r\nremove '\xff'")
    assert p2pctl("batch", str(path)).status == 0
    assert [params["ref"] for params in daemon.params("remove")] == ["a", "\udcff"]
    for name, status in ((tmp_path / "none", 4), (tmp_path, 10)):
        assert p2pctl("batch", str(name)).status == status


def test_no_lines_at_all(batch: Any) -> None:
    assert (batch("").status, batch("# nothing\n").status) == (0, 0)
    assert batch("", "--json").document["items"] == []


def test_all_lines_share_a_connection(batch: Any, daemon: Daemon) -> None:
    opened: set[bytes] = set()
    serve = daemon.server._serve

    def counting(peer: bytes, data: bytes) -> None:
        opened.add(peer)
        serve(peer, data)

    daemon.server._serve = counting  # type: ignore[method-assign]
    assert batch("remove a\n" * 50).status == 0
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("lines", "failures", "status"),
    [(0, [], 0), (3, [], 0), (2, [4, 4], 4), (3, [4, 4], 12), (2, [4, 5], 12), (5, [130], 130), (1, [2], 2)],
)
def test_statuses_of_all_lines(lines: int, failures: list[int], status: int) -> None:
    assert Tally(lines, failures).status == status
