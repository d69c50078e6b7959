"""Hostile names, addresses and answers over the real wire: a member that lies, as a device and as a tracker.

A member is authenticated, not trusted: whatever it says, nothing is written outside the download directory, nothing is
dialled that must not be, and nothing reaches a terminal raw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from p2pd.net.dealer import Lost
from protocol import peer as peer_messages
from protocol import tracker as tracker_messages
from protocol.codec import encode
from protocol.errors import RemoteProtocolError
from protocol.handshake import Dialect
from protocol.manifest import Manifest
from protocol.tracker import (
    Announce,
    Announced,
    Entry,
    Find,
    Hit,
    Hits,
    Publish,
    Published,
    Search,
    Source,
    Sources,
)
from tests.fakes.liar import Liar
from tests.fakes.processes import Swarm, until

BAD_NAMES = [
    "../escape",
    "..",
    "/etc/evil",
    "a/../../b",
    "a\\..\\b",
    "C:evil",
    "line\nbreak",
    "\x1b]0;title\x07red\x1b[31m",
    "invoice\u202efdp.exe",
    "zero\u200bwidth",
    "dot.",
    "space ",
    "CON",
    "nul.txt",
    "e\u0301 decomposed",
    "x.p2pd-part",
    "n" * 256,
]
EVIL = "\x1b]0;owned\x07\u202egnp.exe"
CONTENT = b"content of a liar"
EPOCH = b"\x01" * 8


@pytest.fixture
def liar() -> Iterator[Liar]:
    with Liar() as made:
        yield made


def manifest_of(content: bytes) -> Manifest:
    return Manifest(len(content), 1 << 20, hashlib.sha256(content).digest(), blake3(content).digest())


def entry(name: str) -> Entry:
    manifest = manifest_of(CONTENT)
    return Entry(manifest.content_id, manifest.sha256, len(CONTENT), name, 1)


def publish(name: str) -> Publish:
    return Publish(0, EPOCH, 0, 1, True, False, [entry(name)], [])


def test_tracker_refuses_bad_names(swarm: Swarm, liar: Liar) -> None:
    """The session ends, nothing is published, and the others see nothing of it."""
    tracker = swarm.tracker()
    bob = swarm.peer("bob", tracker).connected()
    announce = Announce(0, EPOCH, 0, 2000, "")
    for name in BAD_NAMES[:4]:
        first, second = liar.ask(tracker.ports["Tracker"], announce, publish(name))
        assert isinstance(first, Announced)
        assert isinstance(second, Lost), name
    assert bob.ok("all_files") == []
    # the same message with a decent name is taken, so it was the name
    first, second = liar.ask(tracker.ports["Tracker"], announce, publish("decent.txt"))
    assert isinstance(second, Published)
    assert [item["name"] for item in bob.ok("all_files")] == ["decent.txt"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names_do_not_pass_the_decoder(name: str) -> None:
    """All of them, in both directions, without the cost of a process each."""
    with pytest.raises(RemoteProtocolError):
        tracker_messages.decode_request(encode(publish(name)))
    hit = Hit(entry("x").content_id, entry("x").sha256, 1, [name], 1, 1)
    with pytest.raises(RemoteProtocolError):
        tracker_messages.decode_reply(encode(Hits(0, [hit], "")))


class LyingTracker:
    """Answers of a tracker: `names` of the one content, `hosts` that are said to have it."""

    def __init__(self, liar: Liar, names: list[str], hosts: list[tuple[str, int]]) -> None:
        self.names = names
        self.hosts = hosts
        self.device_id = liar.device.device_id

    def __call__(self, request: Any) -> tuple[Any, bytes]:
        if isinstance(request, Announce):
            return Announced(request.req, 900, 300, bytes(8), 0, "127.0.0.1", 1, 1), b""
        if isinstance(request, Publish):
            return Published(request.req, request.revision), b""
        if isinstance(request, Search):
            manifest = manifest_of(CONTENT)
            hit = Hit(manifest.content_id, manifest.sha256, manifest.size, self.names, 1, 1)
            return Hits(request.req, [hit], ""), b""
        if isinstance(request, Find):
            sources = [Source(self.device_id, host, port) for host, port in self.hosts]
            return Sources(request.req, sources), b""
        return tracker_messages.Refused(request.req, 2), b""


def uploader(content: bytes) -> Callable[[Any], tuple[Any, bytes]]:
    """Answers of a device that serves `content` under the manifest of CONTENT."""
    octets = manifest_of(CONTENT).encode()

    def answer(request: Any) -> tuple[Any, bytes]:
        if isinstance(request, peer_messages.GetManifest):
            return peer_messages.ManifestPart(request.req, len(octets)), octets[request.offset :]
        if isinstance(request, peer_messages.Interest):
            return peer_messages.Available(request.req, True), b""
        return peer_messages.Block(request.req), content

    return answer


def tree(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_lying_tracker(swarm: Swarm, liar: Liar) -> None:
    """Bad names in its answers end its session; addresses that must not be dialled are not."""
    port = liar.serve(Dialect.PEER, uploader(CONTENT))
    tracker = LyingTracker(liar, ["../../escape"], [("127.0.0.1", port)])
    bob = swarm.peer("bob", f"127.0.0.1:{liar.serve(Dialect.TRACKER, tracker)}").connected()
    folder = swarm.folder("in")
    outside = tree(swarm.directory)
    content_id = manifest_of(CONTENT).content_id.hex()
    for name in ("../../escape", EVIL, "/etc/evil", "ok.txt/../../../x"):
        tracker.names = [name]
        bob.connected()
        result = bob.ctl("--json", "download", content_id, cwd=folder)
        assert result.status == 7, name
        result = bob.ctl("search", "escape")
        assert result.status == 7
        assert "\x1b" not in result.out + result.err
    # a path is accepted on the wire (folders), but only its last part names the file
    tracker.names = ["deep/er/name.txt"]
    bob.connected()
    tracker.hosts = [("0.0.0.0", port), ("224.0.0.1", port), ("localhost", port), ("169.254.0.1", port)]
    transfer = bob.begin(content_id, folder)
    refused = "named an address we do not dial"
    until(lambda: bob.log.read_text().count(refused) >= len(tracker.hosts), 10.0, "it asks who has it")
    assert bob.transfer(transfer)["sources"] == 0
    tracker.hosts = [("127.0.0.1", port)]
    bob.finish(transfer)
    assert tree(folder) == {"downloaded_name.txt"}
    assert (folder / "downloaded_name.txt").read_bytes() == CONTENT
    home = {name for name in tree(swarm.directory) if not name.startswith(("bob", "in/"))}
    assert home == {name for name in outside if not name.startswith(("bob", "in/"))}


def test_lying_uploader(swarm: Swarm, liar: Liar) -> None:
    """Wrong octets, and octets of a wrong length, never become a file; an honest device completes it."""
    false = liar.serve(Dialect.PEER, uploader(bytes(len(CONTENT))))
    tracker = LyingTracker(liar, ["name.txt"], [("127.0.0.1", false)])
    bob = swarm.peer("bob", f"127.0.0.1:{liar.serve(Dialect.TRACKER, tracker)}").connected()
    folder = swarm.folder("in")
    transfer = bob.begin("name.txt", folder)
    until(lambda: "sent a wrong piece" in bob.log.read_text(), 10.0, "the lie is noticed")
    assert bob.transfer(transfer)["state"] not in ("done", "failed")
    assert [path.suffix for path in folder.iterdir()] == [".p2pd-part"]
    with Liar() as honest:
        tracker.hosts = [("127.0.0.1", honest.serve(Dialect.PEER, uploader(CONTENT)))]
        tracker.device_id = honest.device.device_id
        item = bob.finish(transfer)
    assert (folder / "downloaded_name.txt").read_bytes() == CONTENT
    assert item["received_bytes"] == len(CONTENT)


def test_own_files_with_such_names(swarm: Swarm) -> None:
    """A file of one's own with a name that no other may see needs another name; what is shown of it is escaped."""
    alice = swarm.peer("alice", swarm.tracker()).connected()
    path = swarm.directory / EVIL
    path.write_bytes(CONTENT)
    result = alice.ctl("add", path)
    assert result.status == 2
    assert "--as NAME" in result.err
    assert "\\u{1b}" in result.err
    assert "\x1b" not in result.err
    assert "\u202e" not in result.err
    assert alice.ctl("add", path, "--as", "decent.txt").out == "Added decent.txt to shared files\n"
    shown = alice.ctl("list", "-v").out
    assert "\x1b" not in shown
    assert "\\u{202e}" in shown
    assert "\x1b" not in alice.log.read_text()
