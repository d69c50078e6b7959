"""p2pd.net.warden with thousands of members: who is looked at when."""

from __future__ import annotations

import mmap
import socket
import sys
from pathlib import Path

import pytest

from p2pd.net import warden as warden_module
from p2pd.net.warden import BUSY_SECONDS, CALM_SECONDS, IDLE_SECONDS, Budget, Warden
from tests.p2pd.net.test_warden import accepted, pair

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="octets are counted on Linux only")


def test_many_settled_connections_are_looked_at_in_slices_and_strangers_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(warden_module, "SLICE", 3)
    warden = Warden(budget=Budget(held_octets=1000, stranger_octets=1000))
    pairs = [pair() for _ in range(8)]
    for _, server in pairs[:7]:
        warden.on_event(accepted(server.fileno()), 0.0)
        warden.authenticated(server.fileno())
    now = 0.0
    while warden.pause != IDLE_SECONDS:  # they come as strangers; then a round over all of them
        warden.scan(now := now + 0.1)
    warden.on_event(accepted(pairs[7][1].fileno()), now)
    flood = bytes(3000)
    for client, server in pairs:
        client.sendall(flood)
        assert len(server.recv(len(flood), socket.MSG_WAITALL)) == len(flood)
    first = warden.scan(now := now + 0.1)
    assert pairs[7][1].fileno() in {cut.fd for cut in first}
    assert len(first) == 1 + 3
    assert warden.pause == CALM_SECONDS  # the round is not over
    assert warden.scan(now + CALM_SECONDS / 2) == []
    assert len(warden.scan(now + CALM_SECONDS)) == 3
    assert len(warden.scan(now + 2 * CALM_SECONDS)) == 1
    for client, server in pairs:
        client.close()
        server.close()


def test_all_are_looked_at_when_the_process_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warden_module, "SLICE", 1)
    resident = 0
    warden = Warden(budget=Budget(held_octets=1000), resident=lambda: resident)
    pairs = [pair() for _ in range(8)]
    for _, server in pairs:
        warden.on_event(accepted(server.fileno()), 0.0)
        warden.authenticated(server.fileno())
    now = 0.0
    while warden.pause != IDLE_SECONDS:
        warden.scan(now := now + 0.1)
    client, server = pairs[0]  # the last of a round
    client.sendall(bytes(3000))
    server.recv(3000, socket.MSG_WAITALL)
    resident = warden_module.GROWTH
    now += 0.1
    assert warden.scan(now) == []
    resident += 1
    assert [cut.fd for cut in warden.scan(now)] == [server.fileno()]
    resident -= 1  # what shrinks may grow again
    assert warden.scan(now) == []
    for client, server in pairs:
        client.close()
        server.close()


def test_a_look_at_all_goes_in_slices_with_short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warden_module, "SLICE", 1)
    monkeypatch.setattr(warden_module, "GROWTH_SLICE", 3)
    resident = 0
    warden = Warden(budget=Budget(held_octets=1000), resident=lambda: resident)
    pairs = [pair() for _ in range(8)]
    for _, server in pairs:
        warden.on_event(accepted(server.fileno()), 0.0)
        warden.authenticated(server.fileno())
    now = 0.0
    while warden.pause != IDLE_SECONDS:
        warden.scan(now := now + 0.1)
    for client, server in pairs:
        client.sendall(bytes(3000))
        server.recv(3000, socket.MSG_WAITALL)
    resident = warden_module.GROWTH + 1
    assert len(warden.scan(now)) == 3
    assert warden.pause == BUSY_SECONDS
    resident *= 3  # it goes on growing: those who wait for their turn come first
    assert len(warden.scan(now)) == 3
    assert len(warden.scan(now)) == 2
    assert len(warden._hot) == 0
    for client, server in pairs:
        client.close()
        server.close()


def test_what_this_process_holds_is_its_own(tmp_path: Path) -> None:
    before = warden_module.resident_octets()
    assert before > 1 << 20
    size = 64 << 20
    path = tmp_path / "mapped"
    path.write_bytes(bytes(size))
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), size, prot=mmap.PROT_READ) as mapped:
        assert sum(mapped[at] for at in range(0, size, mmap.PAGESIZE)) == 0
        assert warden_module.resident_octets() < before + size // 2, "a file that was read is not held"
        held = bytearray(b"1") * size
        assert warden_module.resident_octets() > before + size // 2
        assert len(held) == size
