"""p2pctl events: lines for people and programs, where it goes on, and how it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from p2pctl.commands.events import TEXTS
from p2pd.events import GAP, Events
from p2pd.happenings import KINDS, LimitChanged, QueueChanged, TransferCancelled, TransferDone
from protocol.errors import Fault
from tests.fakes.schemas import validate, validate_item
from tests.p2pctl.conftest import Daemon, Run
from tests.p2pctl.samples import HOSTILE, ID, SAFE


def serve(daemon: Daemon, events: Events) -> None:
    """The real ring behind the fake daemon; when there is nothing more the time is over."""

    def answer(request: Any, send: Any) -> dict[str, Any]:
        params = request.params
        after, ours = (events.last, True) if params["cursor"] is None else events.position(params["cursor"])
        found = events.read(after, ours, None, params["limit"] or 1000)
        if not found.items and params["wait_s"]:
            raise Fault("timeout", "not done in time; the work goes on")
        return {
            "items": found.items,
            "next": events.cursor(found.after),
            "partial": False,
            "warnings": [],
            "more": found.more,
        }

    daemon.on["events"] = answer


@pytest.fixture
def events(daemon: Daemon) -> Events:
    ring = Events("ab", lambda: 1_790_000_000.5)
    serve(daemon, ring)
    ring.tell(QueueChanged(3))
    ring.tell(TransferDone("t-1", ID, HOSTILE, "/d/a", 1024, None, 2.0, 1))
    ring.tell(LimitChanged("up", None, "limit"))
    return ring


def test_people_get_a_line_each(events: Events, p2pctl: Run) -> None:
    got = p2pctl("events", "--no-follow")
    lines = [line[8:] for line in got.out.splitlines()]
    assert lines == [
        "  queue.changed      3 downloads at a time",
        f"  transfer.done      t-1 {SAFE} (1.0 KiB in 2.0 s, 1 sources): /d/a",
        "  limit.changed      up: no limit (limit)",
    ]
    assert (got.status, got.err) == (0, "")


def test_every_kind_has_its_words() -> None:
    assert set(TEXTS) == {GAP, *KINDS}


def test_a_kind_that_is_not_known_shows_all_it_has(daemon: Daemon, p2pctl: Run) -> None:
    item = {
        "run": "ab", "seq": 1, "cursor": "ab:1", "time": "2026-08-18T09:12:44.000Z", "kind": "moon.full",
        "size": 3, "also": None,
    }  # fmt: skip
    daemon.on["events"] = {"items": [item], "next": "ab:1", "more": False}
    assert p2pctl("events", "--no-follow").out.endswith("moon.full          size=3 also=-\n")


def test_programs_get_documents_and_lines(events: Events, p2pctl: Run) -> None:
    document = p2pctl("--json", "events", "--no-follow").document
    validate("events", document)
    assert [item["seq"] for item in document["items"]] == [1, 2, 3]
    assert document["next"] == "ab:3"
    lines = p2pctl("--jsonl", "events", "--since", "1", "--count", "1").out.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [2]
    validate_item("events", json.loads(lines[0]))
    assert p2pctl("-q", "events", "--since", "0", "--count", "2").out == "ab:1\nab:2\n"
    tsv = p2pctl("--tsv", "events", "--no-follow", "--columns", "seq,kind,transfer").out
    assert tsv.splitlines()[0] == "1\tqueue.changed\t"


def test_it_follows_until_the_time_is_over_and_says_where_to_go_on(events: Events, p2pctl: Run) -> None:
    got = p2pctl("--jsonl", "events", "--since", "ab:2", "--timeout", "60")
    assert [json.loads(line)["seq"] for line in got.out.splitlines()] == [3]
    assert got.status == 6
    assert got.error["hint"] == "go on with: p2pctl events --since ab:3"
    whole = p2pctl("--json", "events", "--count", "9", "--since", "0", "--timeout", "60")
    assert (whole.status, len(whole.document["items"])) == (6, 3)


def test_without_since_it_begins_now(events: Events, daemon: Daemon, p2pctl: Run) -> None:
    got = p2pctl("events", "--kind", "queue.*", "--kind", "limit.*")
    assert (got.status, got.out) == (6, "")
    assert daemon.params("events") == [
        {"cursor": None, "kinds": ["queue.*", "limit.*"], "limit": None, "wait_s": 0.0},
        {"cursor": "ab:3", "kinds": ["queue.*", "limit.*"], "limit": None, "wait_s": 20.0},
    ]


def test_a_gap_is_shown_and_not_counted(daemon: Daemon, p2pctl: Run) -> None:
    ring = Events("ab", kept=2)
    serve(daemon, ring)
    for number in range(6):
        ring.tell(TransferCancelled(f"t-{number}", ID, "a"))
    got = p2pctl("events", "--since", "ab:1", "--count", "2")
    assert [line.split(None, 1)[1] for line in got.out.splitlines()] == [
        "gap                3 events are not remembered any more",
        "transfer.cancelled t-4 a",
        "transfer.cancelled t-5 a",
    ]
    restarted = p2pctl("--json", "events", "--since", "cd:1", "--no-follow").document
    validate("events", restarted)
    assert restarted["items"][0]["reason"] == "restarted"
    assert "was started anew" in p2pctl("events", "--since", "cd:1", "--no-follow").out


def test_a_document_needs_an_end(daemon: Daemon, p2pctl: Run) -> None:
    got = p2pctl("--json", "events")
    assert (got.status, got.error["code"]) == (2, "usage")
    assert daemon.params("events") == []


def test_a_cursor_that_is_not_set_is_not_the_beginning(events: Events, p2pctl: Run) -> None:
    got = p2pctl("--json", "events", "--no-follow", "--since", "")
    assert (got.status, got.out) == (2, "")
    assert (got.error["message"], got.error["hint"]) == ("--since is empty", "is a variable not set?")
