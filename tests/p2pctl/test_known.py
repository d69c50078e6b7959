"""p2pctl/known.py: candidates from what a daemon answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from p2pctl.client import Client
from p2pctl.completing import Candidate
from p2pctl.known import asking
from protocol.errors import Fault
from tests.p2pctl.conftest import Daemon
from tests.p2pctl.samples import page

ID = "ab" * 32


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    made = Client([daemon.server.path], 20.0)
    yield made
    made.close()


def item(value: str, **more: Any) -> dict[str, Any]:
    return {"value": value, "id": ID, "name": value, "size_bytes": 2048, **more}


def test_names_with_their_size(daemon: Daemon, client: Client) -> None:
    daemon.on["complete"] = page(item("report.pdf"))
    assert asking(lambda: client)("found", "re") == [Candidate("report.pdf", "2.0 KiB")]
    assert daemon.params("complete") == [{"kind": "found", "text": "re", "limit": 100}]


def test_ids_with_their_name(daemon: Daemon, client: Client) -> None:
    daemon.on["complete"] = page(item(ID, name="report.pdf"))
    assert asking(lambda: client)("shared", "abababab") == [Candidate(ID, "report.pdf, 2.0 KiB")]


def test_an_exact_name_that_was_begun_so_and_one_that_looks_like_an_option(
    daemon: Daemon, client: Client
) -> None:
    daemon.on["complete"] = page(item("-x"), item("a"), item(ID, name="a"))
    assert [each.value for each in asking(lambda: client)("found", "name:")] == ["name:-x", "name:a"]
    assert daemon.params("complete")[0]["text"] == ""
    assert [each.value for each in asking(lambda: client)("found", "")] == ["name:-x", "a", ID]


@pytest.mark.parametrize("name", ["#3", "deadbeef", "AB" * 32])
def test_a_name_that_means_something_else_when_typed_comes_as_a_name(
    daemon: Daemon, client: Client, name: str
) -> None:
    daemon.on["complete"] = page(item(name), item("dead"))
    values = [each.value for each in asking(lambda: client)("found", "")]
    assert values == [f"name:{name}", "dead"]


def test_transfers_in_the_states_that_fit(daemon: Daemon, client: Client) -> None:
    transfers = [{"transfer": f"t-{n}", "name": f"n{n}", "state": "paused"} for n in (12, 1, 2)]
    daemon.on["transfers"] = page(*transfers)
    ask = asking(lambda: client)
    assert ask("transfers:paused", "t-1") == [
        Candidate("t-12", "n12, paused"),
        Candidate("t-1", "n1, paused"),
    ]
    assert ask("transfers", "x") == []
    assert [params.get("states") for params in daemon.params("transfers")] == [["paused"], None]


def test_devices(daemon: Daemon, client: Client) -> None:
    daemon.on["peers"] = page(
        {"device_id": "djdq", "address": "10.0.0.1:8001"}, {"device_id": "x", "address": None}
    )
    assert asking(lambda: client)("devices", "dj") == [Candidate("djdq", "10.0.0.1:8001")]


def test_wants_and_bans(daemon: Daemon, client: Client) -> None:
    daemon.on["wants"] = page({"want": "w-1", "what": "a tape"}, {"want": "w-2", "what": "b"})
    daemon.on["bans"] = page({"subject": "10.0.0.0/8", "reason": ""}, {"subject": "djdq", "reason": "noise"})
    ask = asking(lambda: client)
    assert ask("wants", "w-1") == [Candidate("w-1", "a tape")]
    assert ask("bans", "d") == [Candidate("djdq", "noise")]
    assert len(ask("bans", "")) == 2


def test_whatever_fails_gives_nothing(daemon: Daemon, client: Client) -> None:
    daemon.on["complete"] = Fault("network", "no tracker answers")
    daemon.on["peers"] = {"nothing": "of use"}
    ask = asking(lambda: client)
    assert ask("found", "x") == []
    assert ask("devices", "x") == []
    assert ask("no such kind", "x") == []


def test_no_daemon_is_nothing_too() -> None:
    assert asking(lambda: Client(["/nonexistent/control.sock"], 1.0))("found", "x") == []
