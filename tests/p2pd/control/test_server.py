"""p2pd/control/server.py: one answer for each request, whatever the method does, and nothing left at the end."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio

from p2pd.control import server as server_module
from p2pd.control.server import ControlServer, Progress
from protocol import control
from protocol.errors import Fault
from protocol.limits import MAX_CONTROL_REPLY
from tests.fakes.reactors import DEADLINE

Params = dict[str, Any]


class Bench:
    """A server with methods of the test, and a client in the same loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.methods: dict[str, Any] = {"ping": self.ping}
        self.server = ControlServer(self.context, path, self.methods)
        self.clients: list[zmq.asyncio.Socket] = []
        self.client: zmq.asyncio.Socket

    async def ping(self, params: Params, progress: Progress) -> Mapping[str, Any]:
        return {"pong": params.get("x")}

    def connect(self, **options: int) -> zmq.asyncio.Socket:
        socket = zmq.asyncio.Context.shadow(self.context).socket(zmq.DEALER)
        socket.linger = 0
        for name, value in options.items():
            setattr(socket, name, value)
        socket.connect(control.endpoint(str(self.path)))
        self.clients.append(socket)
        return socket

    async def __aenter__(self) -> Bench:
        self.server.bind()
        self.client = self.connect()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.server.close()
        for client in self.clients:
            client.close(linger=0)
        self.context.term()

    async def ask(
        self, id: int, method: str = "ping", params: Params | None = None, deadline_s: float | None = None
    ) -> None:
        await self.client.send(control.encode_request(id, method, params or {}, deadline_s))

    async def reply(self) -> control.Reply | control.Progress:
        return control.decode_reply(await asyncio.wait_for(self.client.recv(), DEADLINE))

    async def fault(self) -> Fault:
        reply = await self.reply()
        assert isinstance(reply, control.Reply)
        assert reply.fault is not None
        return reply.fault

    async def result(self) -> dict[str, Any]:
        reply = await self.reply()
        assert isinstance(reply, control.Reply)
        assert reply.fault is None
        return reply.result


def run(directory: Path, work: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Bench(directory / "control.sock") as bench:
            await work(bench)

    asyncio.run(main())


def test_requests_are_answered_with_their_ids(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        for number in range(20):
            await bench.ask(number, params={"x": number})
        replies = [await bench.reply() for _ in range(20)]
        assert sorted(
            (reply.id, reply.result["pong"]) for reply in replies if isinstance(reply, control.Reply)
        ) == [(number, number) for number in range(20)]

    run(tmp_path, work)


def test_progress_comes_before_the_answer(tmp_path: Path) -> None:
    async def wait(params: Params, progress: Progress) -> Mapping[str, Any]:
        for number in range(3):
            await progress({"n": number})
        return {"over": True}

    async def work(bench: Bench) -> None:
        bench.methods["wait"] = wait
        await bench.ask(1, "wait")
        events = [await bench.reply() for _ in range(3)]
        assert [event.event["n"] for event in events if isinstance(event, control.Progress)] == [0, 1, 2]
        assert await bench.result() == {"over": True}

    run(tmp_path, work)


def test_what_goes_wrong_is_an_answer_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(params: Params, progress: Progress) -> Mapping[str, Any]:
        raise Fault("not_found", "nothing", "look elsewhere", {"a": 1})

    async def crash(params: Params, progress: Progress) -> Mapping[str, Any]:
        raise ValueError("a bug")

    async def flood(params: Params, progress: Progress) -> Mapping[str, Any]:
        return {"text": "x" * MAX_CONTROL_REPLY}

    async def work(bench: Bench) -> None:
        bench.methods.update({"info": refuse, "list": crash, "search": flood})
        await bench.ask(1, "info")
        fault = await bench.fault()
        assert (fault.code, fault.message, fault.hint, fault.details) == (
            "not_found",
            "nothing",
            "look elsewhere",
            {"a": 1},
        )
        await bench.ask(2, "list")
        assert "a bug" in (await bench.fault()).message
        await bench.ask(3, "search")
        assert (await bench.fault()).code == "failure"
        await bench.ask(4, "status")  # of the protocol, but not of this server
        assert (await bench.fault()).code == "failure"
        await bench.ask(5)
        assert await bench.result() == {"pong": None}

    run(tmp_path, work)


def test_a_deadline_ends_the_wait(tmp_path: Path) -> None:
    async def wait(params: Params, progress: Progress) -> Mapping[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def work(bench: Bench) -> None:
        bench.methods["wait"] = wait
        await bench.ask(1, "wait", deadline_s=0.01)
        assert (await bench.fault()).code == "timeout"

    run(tmp_path, work)


def test_messages_that_are_no_requests(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        for frames in ([b""], [b"garbage"], [b"a", b"b"], [b"", b"\x80"], [b"\x81\xa2id\x01", b""]):
            await bench.client.send_multipart(frames)
        await bench.client.send(control.encode_request(7, "ping", {}).replace(b"ping", b"pung"))
        assert (await bench.fault()).code == "version"
        await bench.ask(8)
        reply = await bench.reply()
        assert reply.id == 8

    run(tmp_path, work)


def test_too_many_requests_at_a_time_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_REQUESTS", 2)
    release = asyncio.Event()

    async def wait(params: Params, progress: Progress) -> Mapping[str, Any]:
        await release.wait()
        return {}

    async def work(bench: Bench) -> None:
        bench.methods["wait"] = wait
        for number in range(3):
            await bench.ask(number, "wait")
        reply = await bench.reply()
        assert isinstance(reply, control.Reply)
        assert reply.id == 2
        assert reply.fault is not None
        assert reply.fault.code == "refused"
        release.set()
        assert sorted([(await bench.reply()).id, (await bench.reply()).id]) == [0, 1]

    run(tmp_path, work)


def test_a_client_that_leaves_ends_the_wait_and_not_the_work(tmp_path: Path) -> None:
    entered, gone, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def wait(params: Params, progress: Progress) -> Mapping[str, Any]:
        entered.set()
        await gone.wait()
        try:
            while True:
                await progress({})
                await asyncio.sleep(0)
        finally:
            over.set()

    async def work(bench: Bench) -> None:
        bench.methods["wait"] = wait
        leaver = bench.connect()
        await leaver.send(control.encode_request(1, "wait", {}, None))
        await asyncio.wait_for(entered.wait(), DEADLINE)
        leaver.close(linger=0)
        gone.set()
        await asyncio.wait_for(over.wait(), DEADLINE)
        await bench.ask(2)
        assert await bench.result() == {"pong": None}

    run(tmp_path, work)


def test_the_end_answers_what_is_under_way_and_removes_the_socket(tmp_path: Path) -> None:
    entered = asyncio.Event()

    async def wait(params: Params, progress: Progress) -> Mapping[str, Any]:
        entered.set()
        await asyncio.Event().wait()
        return {}

    async def work(bench: Bench) -> None:
        bench.methods["wait"] = wait
        await bench.ask(1, "wait")
        await asyncio.wait_for(entered.wait(), DEADLINE)
        await bench.server.close()
        await bench.server.close()
        assert (await bench.fault()).code == "no_daemon"
        assert not bench.path.exists()

    run(tmp_path, work)


def test_the_socket_is_the_users_own_and_the_umask_is_left_as_it_was(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        assert stat.S_IMODE(bench.path.stat().st_mode) & 0o077 == 0
        before = os.umask(0o022)
        os.umask(before)
        assert before == 0o027

    old = os.umask(0o027)
    try:
        run(tmp_path, work)
    finally:
        os.umask(old)


def test_a_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_bytes(b"mine")

    async def main() -> str:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            with pytest.raises(Fault) as caught:
                ControlServer(context, path, {}).bind()
            with pytest.raises(Fault) as nowhere:
                ControlServer(context, tmp_path / "missing" / "c.sock", {}).bind()
            assert nowhere.value.code == "storage"
            return caught.value.code
        finally:
            context.term()

    assert asyncio.run(main()) == "usage"
    assert path.read_bytes() == b"mine"


def test_a_socket_left_by_a_kill_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))

    async def work(bench: Bench) -> None:
        await bench.ask(1)
        assert await bench.result() == {"pong": None}

    run(tmp_path, work)


def test_closed_before_it_was_bound(tmp_path: Path) -> None:
    async def main() -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        await ControlServer(context, tmp_path / "control.sock", {}).close()
        context.term()

    asyncio.run(main())


def test_it_says_when_it_answers(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await bench.server.answers()
        await bench.ask(1, params={"x": 1})
        assert await bench.result() == {"pong": 1}

    run(tmp_path, work)


def test_a_socket_that_does_not_answer_is_no_start(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        async def stuck(params: Params, progress: Progress) -> Mapping[str, Any]:
            await asyncio.Event().wait()
            raise AssertionError

        bench.methods["ping"] = stuck
        with pytest.raises(Fault) as caught:
            await bench.server.answers(0.05)
        assert caught.value.code == "failure"

    run(tmp_path, work)
