"""The connection: found, refused, lost, late, and many requests over it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from p2pctl import client as module
from p2pctl.client import Client, socket_paths
from protocol.control import UPGRADE_HINT, Request
from protocol.errors import Fault
from protocol.limits import MAX_CONTROL_REQUEST
from protocol.version import VERSION
from tests.fakes.control_daemon import ControlDaemon, Send


def echo(request: Request, send: Send) -> dict[str, Any]:
    return {"method": request.method, **request.params}


@pytest.fixture
def path(place: Path) -> str:
    return str(place / "c.sock")


@pytest.fixture
def client(path: str) -> Iterator[Client]:
    made = Client([path], 20.0)
    yield made
    made.close()


def fault_of(client: Client, method: str = "ping") -> Fault:
    with pytest.raises(Fault) as caught:
        client.call(method, {})
    return caught.value


class TestPaths:
    def test_flags_before_the_environment(self) -> None:
        environ = {"P2PCTL_SOCKET": "/e"}
        assert socket_paths("/s", "/h", environ) == ["/s"]
        assert socket_paths(None, "/h", environ) == ["/h/control.sock"]
        assert socket_paths(None, None, environ) == ["/e"]

    def test_relative_ones_are_made_absolute(self) -> None:
        assert socket_paths("c.sock", None, {}) == [os.path.abspath("c.sock")]


class TestNobodyThere:
    def test_no_file(self, client: Client, path: str) -> None:
        fault = fault_of(client)
        assert (fault.code, fault.details) == ("no_daemon", {"tried": [path]})
        assert path in fault.message
        assert fault.hint == module.START_HINT

    def test_no_place(self) -> None:
        assert fault_of(Client([])).code == "no_daemon"

    def test_a_stale_socket_is_known_at_once(self, client: Client, path: str) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
        started = time.monotonic()
        fault = fault_of(client)
        assert fault.code == "no_daemon"
        assert "nobody answers" in fault.message
        assert time.monotonic() - started < 2.0

    def test_an_ordinary_file(self, client: Client, path: str) -> None:
        Path(path).write_text("")
        assert fault_of(client).code == "no_daemon"

    def test_a_directory_component_that_is_a_file(self, place: Path) -> None:
        (place / "f").write_text("")
        assert fault_of(Client([str(place / "f" / "c.sock")], 5.0)).code == "no_daemon"

    def test_a_path_too_long(self) -> None:
        assert fault_of(Client(["/" + "a" * 200], 5.0)).code == "usage"

    def test_the_second_place_is_tried(self, path: str) -> None:
        client = Client([path + ".none", path], 20.0)
        with ControlDaemon(path, echo):
            assert client.call("ping", {}) == {"method": "ping"}
            assert client.path == path
            client.close()

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may use every socket")
    def test_no_right(self, client: Client, path: str) -> None:
        with ControlDaemon(path, echo):
            os.chmod(path, 0)
            assert fault_of(client).code == "auth"

    def test_no_right_is_told_from_nobody_there(
        self, client: Client, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_: str) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "stat", refuse)
        fault = fault_of(client)
        assert fault.code == "auth"
        assert path in fault.message

    def test_something_else_listens_there(self, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that accepts and says nothing: the bound of the handshake ends it."""
        monkeypatch.setattr(module, "HANDSHAKE_SECONDS", 0.1)
        client = Client([path])
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(64)
            assert fault_of(client).code == "no_daemon"

    @pytest.mark.parametrize("seconds", [0.1, 0.5])
    def test_something_silent_is_waited_for_as_long_as_was_said(
        self, path: str, monkeypatch: pytest.MonkeyPatch, seconds: float
    ) -> None:
        """A daemon that hangs may go on: whoever gave a --timeout waits that long, and is told that it passed."""
        monkeypatch.setattr(module, "HANDSHAKE_SECONDS", 0.2)
        client = Client([path], seconds)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(64)
            assert fault_of(client).code == "timeout"


class TestCalls:
    def test_result_and_fault(self, client: Client, path: str) -> None:
        def answer(request: Request, send: Send) -> dict[str, Any]:
            if request.method == "info":
                raise Fault("ambiguous", "two", "choose", {"matches": []})
            return {"deadline_s": request.deadline_s}

        with ControlDaemon(path, answer):
            told = client.call("ping", {})["deadline_s"]
            assert 15.0 < told < 20.0
            fault = fault_of(client, "info")
            assert (fault.code, fault.message, fault.hint, fault.details) == (
                "ambiguous",
                "two",
                "choose",
                {"matches": []},
            )

    def test_without_a_timeout(self, path: str) -> None:
        client = Client([path])
        with ControlDaemon(path, lambda request, send: {"deadline_s": request.deadline_s}):
            assert client.call("wait", {}) == {"deadline_s": None}
            assert client.call("ping", {})["deadline_s"] == module.CALL_SECONDS - module.WAY_BACK_SECONDS
            client.close()

    def test_too_late(self, path: str) -> None:
        client = Client([path], 0.2)
        with ControlDaemon(path, lambda request, send: None):
            fault = fault_of(client)
            assert (fault.code, fault.message) == ("timeout", "no answer within 0.2 s")
            client.close()

    def test_events_come_before_the_answer(self, client: Client, path: str) -> None:
        def answer(request: Request, send: Send) -> dict[str, Any]:
            send({"n": 1})
            send({"n": 2})
            return {}

        seen: list[dict[str, Any]] = []
        with ControlDaemon(path, answer):
            assert client.call("wait", {}, seen.append) == {}
        assert seen == [{"n": 1}, {"n": 2}]

    def test_a_daemon_that_goes_away(self, client: Client, path: str) -> None:
        daemon = ControlDaemon(path, lambda request, send: None)
        faults: list[Fault] = []
        with daemon:
            waiter = threading.Thread(target=lambda: faults.append(fault_of(client, "wait")))
            waiter.start()
            daemon.wait_for("wait")
        waiter.join(20)
        assert [fault.code for fault in faults] == ["no_daemon"]
        assert "went away" in faults[0].message
        assert client.gone()

    def test_gone_is_false_while_somebody_answers(self, client: Client, path: str) -> None:
        with ControlDaemon(path, echo):
            client.call("ping", {})
            assert not client.gone()

    def test_gone_is_false_while_so_many_wait_that_there_is_no_place(self, client: Client, path: str) -> None:
        """As at a daemon that was stopped (SIGSTOP) and asked again and again: it is there."""
        client.path = path
        with contextlib.ExitStack() as held:
            listener = held.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(path)
            listener.listen(0)
            refused = 0
            while not refused:
                one = held.enter_context(socket.socket(socket.AF_UNIX))
                one.setblocking(False)
                refused = one.connect_ex(path)
            assert refused == errno.EAGAIN
            assert not client.gone()
        assert client.gone()

    @pytest.mark.parametrize(
        "changes", [{"method": "from tomorrow"}, {"v": 99}], ids=["a method", "the dialect"]
    )
    def test_another_release_is_named(
        self, client: Client, path: str, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
    ) -> None:
        def of_tomorrow(id: int, *rest: Any) -> bytes:
            message = {"v": 1, "id": id, "method": "ping", "params": {}, "deadline_s": None, **changes}
            packed: bytes = msgpack.packb(message)
            return packed

        monkeypatch.setattr(module, "encode_request", of_tomorrow)
        monkeypatch.setattr(module, "VERSION", "9.9.9")
        with ControlDaemon(path, echo):
            fault = fault_of(client)
        assert fault.code == "version"
        assert fault.hint.startswith(
            f"p2pctl is 9.9.9 and p2pd is {VERSION}: use p2pctl and p2pd of the same"
        )
        assert (fault.details["client_version"], fault.details["daemon_version"]) == ("9.9.9", VERSION)

    def test_nonsense_is_a_version_matter(self, client: Client, path: str) -> None:
        """A result over every limit of the dialect arrives as octets, and is refused."""
        with ControlDaemon(path, lambda request, send: {"x": list(range(2000))}):
            fault = fault_of(client)
        assert (fault.code, fault.hint) == ("version", UPGRADE_HINT)


class TestEach:
    def test_many_in_order_though_answered_in_another(self, client: Client, path: str) -> None:
        """Four requests are gathered and answered last first."""
        held: list[tuple[bytes, bytes]] = []

        class Shuffled(ControlDaemon):
            def _serve(self, peer: bytes, data: bytes) -> None:
                held.append((peer, data))
                if len(held) == 4:
                    while held:
                        super()._serve(*held.pop())

        with Shuffled(path, echo):
            got = list(client.each("remove", [{"n": n} for n in range(100)]))
        assert got == [(n, {"method": "remove", "n": n}) for n in range(100)]

    def test_one_failure_leaves_the_others(self, client: Client, path: str) -> None:
        def answer(request: Request, send: Send) -> dict[str, Any]:
            if request.params["n"] == 1:
                raise Fault("not_found", "no")
            return {}

        with ControlDaemon(path, answer):
            got = [result for _, result in client.each("remove", [{"n": n} for n in range(3)])]
        assert [isinstance(result, Fault) for result in got] == [False, True, False]

    def test_one_that_fits_no_message_leaves_the_others(self, client: Client, path: str) -> None:
        huge = {"ref": ["x" * 1000] * (MAX_CONTROL_REQUEST // 900)}
        with ControlDaemon(path, echo):
            got = [result for _, result in client.each("remove", [{"ref": "a"}, huge, {"ref": "b"}])]
        assert isinstance(got[1], Fault)
        assert got[1].code == "usage"
        assert [got[0], got[2]] == [{"method": "remove", "ref": "a"}, {"method": "remove", "ref": "b"}]

    def test_no_more_than_a_window_under_way(self, path: str) -> None:
        daemon = ControlDaemon(path, lambda request, send: None)
        client = Client([path], 0.5)
        with daemon:
            got = [result for _, result in client.each("wait", [{}] * (module.WINDOW + 5))]
            client.close()
        assert len(daemon.requests) == module.WINDOW
        assert {result.code for result in got if isinstance(result, Fault)} == {"timeout"}
        assert len(got) == module.WINDOW + 5

    def test_a_lost_daemon_fails_what_has_no_answer(self, client: Client, path: str) -> None:
        daemon = ControlDaemon(path, lambda request, send: {} if request.params["n"] == 0 else None)
        got: list[Any] = []

        def work() -> None:
            got.extend(result for _, result in client.each("wait", [{"n": 0}, {"n": 1}, {"n": 2}]))

        worker = threading.Thread(target=work)
        with daemon:
            worker.start()
            daemon.wait_for("wait")
        worker.join(20)
        assert got[0] == {}
        assert [fault.code for fault in got[1:]] == ["no_daemon", "no_daemon"]


class TestPages:
    PAGES = {None: ([1, 2], "a"), "a": ([], "b"), "b": ([3], None)}

    def pages(self, request: Request, send: Send) -> dict[str, Any]:
        items, following = self.PAGES[request.params["cursor"]]
        limit = request.params["limit"]
        return {"items": items[:limit], "next": following, "partial": False, "warnings": []}

    @pytest.mark.parametrize(
        ("limit", "cursor", "follow", "items", "asked"),
        [
            (None, None, True, [[1, 2], [], [3]], [None, None, None]),
            (None, None, False, [[1, 2]], [None]),
            (None, "a", True, [[]], [None]),
            (1, None, True, [[1]], [1]),
            (2, None, True, [[1, 2]], [2]),
            (3, None, False, [[1, 2], [], [3]], [3, 1, 1]),
            (5000, "a", True, [[], [3]], [1000, 1000]),
        ],
    )
    def test_following(
        self,
        client: Client,
        path: str,
        limit: int | None,
        cursor: str | None,
        follow: bool,
        items: list[Any],
        asked: list[Any],
    ) -> None:
        daemon = ControlDaemon(path, self.pages)
        with daemon:
            got = [page["items"] for page in client.pages("list", {}, limit, cursor, follow)]
        assert got == items
        assert [request.params["limit"] for request in daemon.requests] == asked

    def test_a_daemon_that_turns_in_circles(self, client: Client, path: str) -> None:
        with (
            ControlDaemon(path, lambda request, send: {"items": [], "next": "a"}),
            pytest.raises(Fault) as caught,
        ):
            list(client.pages("list", {}, None, None))
        assert caught.value.code == "failure"

    def test_no_list(self, client: Client, path: str) -> None:
        with ControlDaemon(path, echo), pytest.raises(Fault) as caught:
            list(client.pages("list", {}, None, None))
        assert caught.value.code == "version"
