"""p2pd/app.py: a whole daemon in this process, from its start to its end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio

from p2pd import app as app_module
from p2pd.app import App
from p2pd.config import KEYS, Sources, compose, gather
from p2pd.net.keyring import Ring
from p2pd.tuning import Tuning
from protocol import control
from protocol.errors import Fault
from tests.fakes.pair import make_device
from tests.fakes.reactors import DEADLINE, HOST, until
from tests.fakes.supervised import Manager, make_supervision
from tests.fakes.swarm import SECRET, eventually, octets


def settings(role: str, home: Path, **flags: Any) -> Sources:
    home.mkdir(exist_ok=True)
    listen = f"{HOST}:0"
    given = {"daemon.home": str(home), "peer.listen": listen, "tracker.listen": listen, "config": None}
    return gather(role, {**given, **{name.replace("__", "."): value for name, value in flags.items()}}, {})


class Running:
    """An App in a task, and its control socket."""

    def __init__(self, sources: Sources, environ: dict[str, str] | None = None) -> None:
        settings = self.settings = compose(sources)
        self.supervision = make_supervision(settings.home, Tuning(sources), environ)
        self.app = App(
            settings,
            Ring(SECRET),
            make_device(str(settings.home)),
            make_device(f"{settings.home} tracker"),
            self.supervision,
        )
        self.task = asyncio.create_task(self.app.run())
        self.context = zmq.asyncio.Context()

    async def up(self) -> None:
        """The control socket is there."""
        await eventually(lambda: self.settings.socket.exists() or self.task.done())
        if self.task.done():
            await self.task

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer of the daemon."""
        client = self.context.socket(zmq.DEALER)
        client.linger = 0
        try:
            client.connect(control.endpoint(str(self.settings.socket)))
            await client.send(control.encode_request(1, method, params))
            while True:
                reply = control.decode_reply(await asyncio.wait_for(client.recv(), DEADLINE))
                if isinstance(reply, control.Reply):
                    if reply.fault is not None:
                        raise reply.fault
                    return reply.result
        finally:
            client.close()

    async def end(self) -> None:
        """It has ended."""
        try:
            await asyncio.wait_for(self.task, DEADLINE)
        finally:
            self.context.term()
            self.supervision.notifier.close()


def run(work: Callable[[], Awaitable[None]]) -> None:
    threads = own_threads()
    asyncio.run(work())  # type: ignore[arg-type]
    until(lambda: own_threads() <= threads)


def test_a_peer_with_a_tracker_does_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> None:
        daemon = Running(settings("peer", tmp_path / "h", peer__with_tracker=True))
        await daemon.up()
        file = tmp_path / "a.bin"
        file.write_bytes(octets(100_000))
        added = await daemon.ask("add", path=str(file))
        assert added["published"], added["warnings"]
        assert [item["name"] for item in (await daemon.ask("search", text="a.bin"))["items"]] == ["a.bin"]
        status = await daemon.ask("status")
        assert status["roles"] == ["peer", "tracker"]
        assert (status["tracker"]["devices"], status["trackers"][0]["state"]) == (1, "connected")
        assert status["key_check"] == SECRET.check_value
        await daemon.ask("shutdown")
        await daemon.end()
        assert not daemon.settings.socket.exists()

    run(work)
    told = capsys.readouterr().out.splitlines()
    assert [line.rpartition(":")[0] for line in told] == [
        f"Tracker listening on {HOST}",
        f"Peer listening on {HOST}",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_tracker(tmp_path: Path, number: signal.Signals) -> None:
    async def work() -> None:
        daemon = Running(settings("tracker", tmp_path / "h"))
        await daemon.up()
        assert (await daemon.ask("status"))["peer"] is None
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        await daemon.end()

    run(work)


def own_threads() -> int:
    """Threads but pyzmq's own, which frees what was sent without a copy and lives as long as the process."""
    return sum(type(thread).__name__ != "GarbageCollectorThread" for thread in threading.enumerate())


def test_two_daemons_and_what_the_next_start_finds(tmp_path: Path) -> None:
    async def work() -> None:
        tracker = Running(settings("tracker", tmp_path / "t"))
        await tracker.up()
        where = (await tracker.ask("status"))["tracker"]["listen"]
        file = tmp_path / "a.bin"
        file.write_bytes(octets(3_000_000))
        alice_settings = settings("peer", tmp_path / "a", peer__trackers=[where])
        bob = Running(settings("peer", tmp_path / "b", peer__trackers=[where]))
        alice = Running(alice_settings)
        await alice.up()
        await bob.up()
        await alice.ask("add", path=str(file))
        alice.app.stop()
        alice.app.stop()
        await alice.end()
        alice = Running(alice_settings)
        await alice.up()
        # "add" answers when the tracker has it: the restarted peer has announced itself then
        assert (await alice.ask("add", path=str(file)))["published"]
        begun = await bob.ask("download", ref="a.bin", directory=str(tmp_path))
        ended = await bob.ask("wait", transfer=begun["transfer"])
        assert ended["state"] == "done"
        assert (tmp_path / "downloaded_a.bin").read_bytes() == file.read_bytes()
        for daemon in (alice, bob, tracker):
            daemon.app.stop()
            await daemon.end()

    run(work)


@pytest.mark.parametrize("role", ["tracker", "peer"])
def test_a_taken_port_is_told_and_leaves_nothing(tmp_path: Path, role: str) -> None:
    async def work() -> None:
        with socket.create_server((HOST, 0)) as taken:
            where = f"{HOST}:{taken.getsockname()[1]}"
            flags: dict[str, Any] = {f"{role}__listen": where, "peer__trackers": ["127.0.0.1:1"]}
            daemon = Running(settings(role, tmp_path / "h", **flags))
            with pytest.raises(Fault) as caught:
                await daemon.end()
        assert caught.value.code == "network"
        assert where in caught.value.message
        assert not daemon.settings.socket.exists()

    run(work)


def test_a_control_socket_that_cannot_be_ends_what_was_started(tmp_path: Path) -> None:
    async def work() -> None:
        where = settings("peer", tmp_path / "h", peer__with_tracker=True)
        compose(where).socket.write_bytes(b"mine")
        daemon = Running(where)
        with pytest.raises(Fault) as caught:
            await daemon.end()
        assert caught.value.code == "usage"
        assert compose(where).socket.read_bytes() == b"mine"

    run(work)


def test_an_end_that_takes_too_long_is_cut_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    app_module._give_up()
    assert left == [1]
    assert "did not stop in time" in capsys.readouterr().err


def test_every_live_setting_reaches_a_part_of_a_peer(tmp_path: Path) -> None:
    async def work() -> None:
        daemon = Running(settings("peer", tmp_path / "h", peer__with_tracker=True))
        await daemon.up()
        await daemon.ask("ping")
        live = {name for name, key in KEYS.items() if key.live}
        assert daemon.supervision.tuning.registered == live
        daemon.app.stop()
        await daemon.end()

    run(work)


def test_a_manager_is_told_of_the_start_of_a_reload_and_of_the_end(tmp_path: Path) -> None:
    async def work() -> None:
        with Manager(f"@p2pd-app-{os.getpid()}") as manager:
            environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "150000"}
            daemon = Running(settings("tracker", tmp_path / "h"), environ)
            (ready,) = await asyncio.to_thread(manager.until, READY="1")
            assert ready["STATUS"].startswith(f"tracker on {HOST}:")
            # Whoever waited for READY is answered.
            assert daemon.settings.socket.exists()
            await daemon.ask("ping")
            await asyncio.to_thread(manager.until, WATCHDOG="1")
            await daemon.ask("reload")
            await asyncio.to_thread(manager.until, RELOADING="1")
            await asyncio.to_thread(manager.until, READY="1")
            daemon.app.stop()
            await daemon.end()
            await asyncio.to_thread(manager.until, STOPPING="1")

    run(work)


def test_settings_change_while_it_runs(tmp_path: Path) -> None:
    async def work() -> None:
        tracker = Running(settings("tracker", tmp_path / "t"))
        await tracker.up()
        where = (await tracker.ask("status"))["tracker"]["listen"]
        peer = Running(settings("peer", tmp_path / "p", peer__with_tracker=True))
        await peer.up()
        own = (await peer.ask("status"))["trackers"][0]["address"]
        set_to = await peer.ask("config_set", key="peer.trackers", value=where)
        assert (set_to["changed"], set_to["pending"]) == (True, False)

        def trackers() -> list[tuple[str, str]]:
            service = peer.app._peer
            assert service is not None
            return [(str(one.endpoint), one.state) for one in service.trackers]

        await eventually(lambda: trackers() == [(where, "connected")])
        await peer.ask("config_unset", key="peer.trackers")
        await eventually(lambda: trackers() == [(own, "connected")])
        told = await peer.ask("events", cursor="0", kinds=["config.*"])
        assert [event["changed"] for event in told["items"]] == [["peer.trackers"]] * 2
        assert (await tracker.ask("status"))["tracker"]["devices"] == 0
        for daemon in (peer, tracker):
            daemon.app.stop()
            await daemon.end()

    run(work)
