"""What a listener on the wire learns: no octet of contents, names, searches or secrets, on any link, in any spelling."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Iterator

from tests.e2e.proxy import Proxy
from tests.fakes.processes import PASSWORD, Swarm, sha256, until

CONTENT = b"CANARY-content-5f1d"
NAME = "CANARY-name-81ac.txt"
QUERY = "CANARY-query-77be"
NETWORK = "CANARY-network-3e"


def spellings(octets: bytes) -> Iterator[bytes]:
    """Octets as they are, as UTF-16, in hex, and in base64 at each of its three alignments."""
    yield octets
    yield octets.decode("latin-1").encode("utf-16-le")
    yield octets.hex().encode()
    yield octets.hex().upper().encode()
    yield base64.b32encode(octets)[:-8]
    for skip in range(3):
        whole = octets[skip : skip + (len(octets) - skip) // 3 * 3]
        yield base64.b64encode(whole)
        yield base64.urlsafe_b64encode(whole)


def found(captured: bytes, canary: bytes) -> list[bytes]:
    """Which spellings of the canary were seen."""
    return [spelling for spelling in spellings(canary) if spelling in captured]


def test_nothing_is_seen(swarm: Swarm, make_proxy: Callable[..., Proxy]) -> None:
    to_tracker, to_alice = make_proxy(record=True), make_proxy(record=True)
    network = ("--network", NETWORK)
    tracker = swarm.tracker(*network)
    to_tracker.target = ("127.0.0.1", tracker.ports["Tracker"])
    alice = swarm.peer("alice", to_tracker.address, "--announce", to_alice.address, *network)
    to_alice.target = ("127.0.0.1", alice.ports["Peer"])
    bob = swarm.peer("bob", to_tracker.address, *network).connected()
    original = swarm.directory / NAME
    original.write_bytes(CONTENT * 100_000)
    alice.ok("add", original)
    assert bob.ok("search", "canary")[0]["name"] == NAME
    assert bob.ok("search", QUERY) == []
    [item] = bob.ok("download", NAME, cwd=swarm.folder("in"))
    assert sha256(original) == item["sha256"]
    bob.connected()
    assert bob.end() == 0
    assert alice.end() == 0
    until(lambda: to_tracker.passed >= len(to_tracker.captured), 5.0, "everything has passed")

    assert len(to_alice.captured) > original.stat().st_size, "the file went through the proxy"
    assert to_tracker.connections == 2
    secrets = {
        "content": CONTENT,
        "name": NAME.encode(),
        "query": QUERY.encode(),
        "network": NETWORK.encode(),
        "password": PASSWORD.encode(),
        "content id": bytes.fromhex(item["id"]),
        "sha256": bytes.fromhex(item["sha256"]),
    }
    for captured in (bytes(to_tracker.captured), bytes(to_alice.captured)):
        for what, canary in secrets.items():
            assert not found(captured, canary), what


def test_the_test_would_see_it(make_proxy: Callable[..., Proxy]) -> None:
    """What goes through the proxy in the clear, in any of the spellings, is found."""
    proxy = make_proxy(record=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy.target = server.getsockname()[:2]
        with socket.create_connection(("127.0.0.1", proxy.port)) as sender:
            receiver, _ = server.accept()
            with receiver:
                receiver.settimeout(10.0)
                for spelling in spellings(CONTENT):
                    sender.sendall(b"x" + spelling)
                    seen = b""
                    while spelling not in seen:
                        seen += receiver.recv(4096)
    assert found(bytes(proxy.captured), CONTENT) == list(spellings(CONTENT))
    assert found(base64.b64encode(b"y" + CONTENT), CONTENT)
