"""The native part of sealing: octet for octet what `cryptography` makes, whatever is given to it."""

from __future__ import annotations

import os
import platform
import random
import shutil
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hmac import HMAC
from hypothesis import given, settings
from hypothesis import strategies as st

import protocol
from protocol import lanes
from protocol.lanes import MOST, WRONG_MAC, WRONG_PADDING, _agrees, known

HEAD, MAC = 25, 32
SIZES = [0, 1, 15, 16, 17, 38, 39, 40, 63, 64, 65, 4095, 4096, 4097, 70_001]


def reference(key: bytes, plain: bytes, iv: bytes, timestamp: int) -> bytes:
    """A token as the library's own class makes it."""
    return urlsafe_b64decode(Fernet(urlsafe_b64encode(key))._encrypt_from_parts(plain, timestamp, iv))


def laid(plain: bytes, iv: bytes, timestamp: int) -> bytearray:
    """A token before it is sealed."""
    head = b"\x80" + timestamp.to_bytes(8, "big") + iv
    return bytearray((head + plain).ljust(HEAD + (len(plain) // 16 + 1) * 16 + MAC, b"\xee"))


def able() -> bool:
    """Has this machine what the native part needs, and what builds it?"""
    if platform.machine() != "x86_64" or not Path("/proc/cpuinfo").exists():
        return False
    flags = Path("/proc/cpuinfo").read_text().split()
    return {"aes", "sha_ni", "sse4_1"} <= set(flags) and any(map(shutil.which, ("cc", "gcc", "clang")))


@pytest.fixture
def native() -> tuple[lanes.Seal, lanes.Open]:
    if lanes.native is None:
        assert not (os.environ.get("P2PD_TEST_EVERYTHING") and able()), "the native part was not built"
        pytest.skip("there is no native part here")
    return lanes.native


def test_what_is_known_is_what_the_library_makes() -> None:
    tokens = []
    for at in range(6):
        key, head, plain = known(at)
        tokens.append(reference(key, plain, head[9:], at))
    assert sha256(b"".join(tokens)).hexdigest() == lanes.KNOWN


def test_what_makes_other_octets_is_not_used(native: tuple[lanes.Seal, lanes.Open]) -> None:
    seal, open_ = native
    assert _agrees(seal, open_)

    def spoils(jobs: Sequence[Any]) -> None:
        seal(jobs)
        jobs[-1][1][30] ^= 1

    def believes(jobs: Sequence[Any]) -> list[int]:
        return [0 if size < 0 else size for size in open_(jobs)]

    def writes_first(jobs: Sequence[Any]) -> list[int]:
        sizes = open_(jobs)
        jobs[-1][2][0] = 1
        return sizes

    assert not _agrees(spoils, open_)
    assert not _agrees(seal, believes)
    assert not _agrees(seal, writes_first)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
def test_tokens_are_those_of_the_library(native: tuple[lanes.Seal, lanes.Open], count: int) -> None:
    seal, open_ = native
    rng = random.Random(count)
    for _ in range(40):
        plains = [rng.randbytes(rng.choice(SIZES)) for _ in range(count)]
        keys, ivs = ([rng.randbytes(size) for _ in range(count)] for size in (32, 16))
        tokens = [laid(plain, iv, 7) for plain, iv in zip(plains, ivs, strict=True)]
        seal([(key, token, len(plain)) for key, token, plain in zip(keys, tokens, plains, strict=True)])
        for key, token, plain, iv in zip(keys, tokens, plains, ivs, strict=True):
            assert bytes(token) == reference(key, plain, iv, 7)
        rooms = [bytearray(len(token) - HEAD - MAC) for token in tokens]
        sizes = open_(list(zip(keys, tokens, rooms, strict=True)))
        assert [bytes(room[:size]) for room, size in zip(rooms, sizes, strict=True)] == plains


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=8), st.integers(0, 15), st.data())
def test_tokens_lie_anywhere(plains: list[bytes], shift: int, data: st.DataObject) -> None:
    if lanes.native is None:
        return
    seal, open_ = lanes.native
    key, iv = data.draw(st.binary(min_size=32, max_size=32)), bytes(16)
    views = []
    for plain in plains:
        token = laid(plain, iv, 0)
        whole = bytearray(b"\xaa" * shift + token + b"\xaa" * 9)
        views.append(memoryview(whole)[shift : shift + len(token)])
    seal([(key, view, len(plain)) for view, plain in zip(views, plains, strict=True)])
    for view, plain in zip(views, plains, strict=True):
        assert view == reference(key, plain, iv, 0)
        around = view.obj
        assert isinstance(around, bytearray)
        assert around[:shift] == b"\xaa" * shift
        assert around[shift + len(view) :] == b"\xaa" * 9
    rooms = [memoryview(bytearray(len(view) + shift))[shift:] for view in views]
    sizes = open_([(key, view, room) for view, room in zip(views, rooms, strict=True)])
    assert [bytes(room[:size]) for room, size in zip(rooms, sizes, strict=True)] == plains
    for room in rooms:
        assert not any(room[-(HEAD + MAC) :])


@pytest.mark.parametrize("size", [0, 40, 5000])
def test_every_changed_octet_is_found_and_nothing_written(
    native: tuple[lanes.Seal, lanes.Open], size: int
) -> None:
    _, open_ = native
    key = bytes(range(32))
    token = reference(key, bytes(size), bytes(16), 0)
    for at in range(0, len(token), max(1, len(token) // 150)):
        changed = bytearray(token)
        changed[at] ^= 1 << at % 8
        rooms = [bytearray(len(token)) for _ in range(3)]
        assert open_([(key, token, rooms[0]), (key, changed, rooms[1]), (key, token, rooms[2])]) == [
            size,
            WRONG_MAC,
            size,
        ]
        assert not any(rooms[1])
    room = bytearray(len(token))
    assert open_([(bytes(32), token, room)]) == [WRONG_MAC]
    assert not any(room)


@pytest.mark.parametrize("end", [b"\0", b"\x11", b"\x02\x03\x03", b"\xff"])
def test_padding_that_is_none(native: tuple[lanes.Seal, lanes.Open], end: bytes) -> None:
    key, iv = bytes(range(32)), bytes(range(16))
    encryptor = Cipher(algorithms.AES(key[16:]), modes.CBC(iv)).encryptor()
    body = encryptor.update((b"x" * 32)[: -len(end)] + end)
    mac = HMAC(key[:16], hashes.SHA256())
    token = b"\x80" + bytes(8) + iv + body
    mac.update(token)
    assert native[1]([(key, token + mac.finalize(), bytearray(32))]) == [WRONG_PADDING]


GOOD = laid(b"abc", bytes(16), 0)


@pytest.mark.parametrize(
    "jobs",
    [
        [(bytes(31), bytearray(GOOD), 3)],
        [(bytes(32), bytearray(GOOD), 16)],
        [(bytes(32), bytearray(GOOD), -1)],
        [(bytes(32), bytearray(GOOD), 2**62)],
        [(bytes(32), bytearray(GOOD), sys.maxsize)],
        [(bytes(32), bytearray(GOOD[:-1]), 3)],
        [(bytes(32), bytearray(), 0)],
        [(bytes(32), bytearray(57), 0)],
        [(bytes(32), bytearray(GOOD), 3)] * (MOST + 1),
        [(bytes(32), bytearray(GOOD), 3), (bytes(32), bytearray(1), 3)],
    ],
)
def test_wrong_sizes_are_refused_before_anything_is_done(
    native: tuple[lanes.Seal, lanes.Open], jobs: list[tuple[bytes, bytearray, int]]
) -> None:
    before = [bytes(token) for _, token, _ in jobs]
    with pytest.raises(ValueError):
        native[0](jobs)
    assert [bytes(token) for _, token, _ in jobs] == before
    for _, token, _ in jobs:
        token.append(0)  # no buffer is held


@pytest.mark.parametrize(
    "jobs",
    [
        None,
        [None],
        [(bytes(32), bytearray(GOOD))],
        [(bytes(32), bytes(GOOD), 3)],
        [("x" * 32, bytearray(GOOD), 3)],
        [(bytes(32), memoryview(bytearray(GOOD))[::2], 3)],
        [(bytes(32), bytearray(GOOD), 3), (bytes(32), bytes(GOOD), 3)],
    ],
)
def test_other_types_are_refused(native: tuple[lanes.Seal, lanes.Open], jobs: Any) -> None:
    with pytest.raises((TypeError, BufferError, ValueError)):
        native[0](jobs)


def test_a_plaintext_does_not_go_where_its_token_is_or_into_too_little_room(
    native: tuple[lanes.Seal, lanes.Open],
) -> None:
    open_ = native[1]
    key = bytes(range(32))
    token = bytearray(reference(key, b"a" * 40, bytes(16), 0))
    before = bytes(token)
    both = memoryview(token)
    for room in (both, both[10:70], both[57:], bytearray(47)):
        with pytest.raises(ValueError, match=r"no room|overlaps"):
            open_([(key, both, room)])
    assert bytes(token) == before
    assert open_([(key, token, bytearray(48))]) == [40]
    assert open_([]) == []


def test_what_is_written_lies_apart_from_all_else(native: tuple[lanes.Seal, lanes.Open]) -> None:
    seal, open_ = native
    key = bytes(range(32))
    tokens = [bytearray(reference(key, bytes([at]) * 40, bytes(16), 0)) for at in range(2)]
    before = [bytes(token) for token in tokens]
    room, other = bytearray(48), bytearray(48)
    for rooms in ((room, room), (room, memoryview(tokens[0])[40:88]), (memoryview(tokens[1])[1:], room)):
        with pytest.raises(ValueError, match="overlaps"):
            open_([(key, token, out) for token, out in zip(tokens, rooms, strict=True)])
    token = laid(b"abc", bytes(16), 0)
    with pytest.raises(ValueError, match="overlaps"):
        seal([(key, token, 3), (bytes(32), token, 3)])
    assert token == laid(b"abc", bytes(16), 0)
    assert [bytes(token) for token in tokens] == before
    assert not any(room)
    assert open_([(key, tokens[0], room), (key, tokens[0], other)]) == [
        40,
        40,
    ]  # what is read may be read twice
    assert room == other


def test_a_list_may_change_while_it_is_read(native: tuple[lanes.Seal, lanes.Open]) -> None:
    jobs: list[tuple[bytes, bytearray, Any]] = []

    class Three:
        def __index__(self) -> int:
            jobs.clear()
            return 3

    tokens = [laid(b"abc", bytes(16), 0) for _ in range(3)]
    for token in tokens:
        jobs.append((bytes(range(32)), token, Three()))
    native[0](jobs)
    assert not jobs
    assert [bytes(token) for token in tokens] == [reference(bytes(range(32)), b"abc", bytes(16), 0)] * 3


@pytest.mark.parametrize(
    "found",
    [
        SimpleNamespace(),
        SimpleNamespace(seal=lambda: None, open=lambda: None),
        SimpleNamespace(seal=lambda jobs: None, open=lambda jobs: [0]),
    ],
)
def test_a_native_part_of_another_version_is_left_alone(
    found: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "_lanes", found, raising=False)
    assert lanes._load() is None


def test_threads_do_not_meet(native: tuple[lanes.Seal, lanes.Open]) -> None:
    seal, open_ = native

    def work(seed: int) -> bool:
        rng = random.Random(seed)
        for _ in range(20):
            keys = [rng.randbytes(32) for _ in range(4)]
            plains = [rng.randbytes(30_000 + rng.randrange(50)) for _ in range(4)]
            tokens = [laid(plain, bytes(16), seed) for plain in plains]
            seal([(key, token, len(plain)) for key, token, plain in zip(keys, tokens, plains, strict=True)])
            rooms = [bytearray(len(token)) for token in tokens]
            sizes = open_(list(zip(keys, tokens, rooms, strict=True)))
            if [bytes(room[:size]) for room, size in zip(rooms, sizes, strict=True)] != plains:
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))
