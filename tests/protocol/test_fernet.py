"""Raw Fernet against the specification's vectors and against `cryptography.fernet.Fernet`."""

from __future__ import annotations

import hmac
import json
import random
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from pathlib import Path

import pytest
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocol import lanes
from protocol.errors import AuthenticationError, LocalProtocolError, RemoteProtocolError
from protocol.fernet import (
    PLAIN_AT,
    SMALL,
    Opening,
    Sealing,
    TokenKey,
    is_token,
    open_all,
    room_to_open,
    seal_all,
    token_size,
)

VECTORS = Path(__file__).parents[1] / "vectors"
KEY = bytes(range(32))
IV = bytes(range(16))
TIME_ONLY = {"far-future TS (unacceptable clock skew)", "expired TTL"}
LARGE = [1 << 10, (1 << 16) - 1, 1 << 16, (1 << 20) + 37]


def vectors(name: str) -> list[dict]:
    return json.loads((VECTORS / f"fernet_{name}.json").read_text())


def unarmour(token: str) -> bytes:
    """Strict base64url, as the specification wants it."""
    if set(token) & set("+/"):
        raise ValueError("not urlsafe")
    return b64decode(token, altchars="-_", validate=True)


def stamp(now: str) -> int:
    return int(datetime.fromisoformat(now).timestamp())


@pytest.mark.parametrize("case", vectors("generate"))
def test_official_generate(case: dict) -> None:
    key = TokenKey(urlsafe_b64decode(case["secret"]))
    token = key.seal(case["src"].encode(), bytes(case["iv"]), stamp(case["now"]))
    assert urlsafe_b64encode(token).decode() == case["token"]


@pytest.mark.parametrize("case", vectors("verify"))
def test_official_verify(case: dict) -> None:
    key = TokenKey(urlsafe_b64decode(case["secret"]))
    assert key.open(unarmour(case["token"])) == case["src"].encode()


@pytest.mark.parametrize("case", vectors("invalid"), ids=lambda case: case["desc"])
def test_official_invalid(case: dict) -> None:
    key = TokenKey(urlsafe_b64decode(case["secret"]))
    if case["desc"] in TIME_ONLY:
        # Authentic tokens whose time is off, and nothing else is: we never look at the time.
        token = unarmour(case["token"])
        assert key.open(token) == b""
        age = stamp(case["now"]) - int.from_bytes(token[1:9], "big")
        assert age > case["ttl_sec"] or age < -60
        return
    with pytest.raises((RemoteProtocolError, ValueError)):
        key.open(unarmour(case["token"]))


@pytest.mark.parametrize(
    ("desc", "error"), [("incorrect mac", AuthenticationError), ("too short", RemoteProtocolError)]
)
def test_official_invalid_reasons(desc: str, error: type[Exception]) -> None:
    case = next(case for case in vectors("invalid") if case["desc"] == desc)
    with pytest.raises(error) as raised:
        TokenKey(urlsafe_b64decode(case["secret"])).open(unarmour(case["token"]))
    assert type(raised.value) is error


@pytest.mark.parametrize("sizes", [range(301), LARGE], ids=["0..300", "large"])
def test_every_size_both_ways_with_stock_fernet(sizes: list[int]) -> None:
    ours, stock = TokenKey(KEY), Fernet(urlsafe_b64encode(KEY))
    octets = random.Random(1)
    for size in sizes:
        plain = octets.randbytes(size)
        token = ours.seal(plain, octets.randbytes(16), 1_790_000_000)
        assert len(token) == token_size(size)
        assert stock.decrypt(urlsafe_b64encode(token)) == plain
        assert ours.open(urlsafe_b64decode(stock.encrypt(plain))) == plain


def test_scattered_parts_give_the_token_of_the_whole() -> None:
    key, octets = TokenKey(KEY), random.Random(2)
    for _ in range(200):
        parts = [
            octets.randbytes(octets.choice((0, 1, 15, 16, 17, 5000))) for _ in range(octets.randrange(5))
        ]
        whole = key.seal(b"".join(parts), IV, 7)
        out = bytearray(len(whole) + 3)
        mixed = [memoryview(bytearray(part)) if n % 2 else part for n, part in enumerate(parts)]
        assert key.seal_parts(memoryview(out), mixed, IV, 7) == len(whole)
        assert out == whole + b"\0\0\0"


def test_open_into_reads_and_writes_views_of_bytearrays() -> None:
    key = TokenKey(KEY)
    token = bytearray(b"xx") + key.seal(b"some octets", IV, 7)
    out = bytearray(room_to_open(len(token) - 2))
    plain = key.open_into(memoryview(token)[2:], memoryview(out))
    assert plain == b"some octets"
    out[0] = ord("S")
    assert plain[0] == ord("S"), "a view, not a copy"


def test_nothing_is_written_before_the_mac_is_right() -> None:
    key = TokenKey(KEY)
    token = bytearray(key.seal(b"some octets", IV, 7))
    token[30] ^= 1
    out = bytearray(200)
    with pytest.raises(AuthenticationError):
        key.open_into(token, memoryview(out))
    assert not any(out)


def test_any_flipped_bit_is_refused_here_and_by_stock_fernet() -> None:
    key, stock = TokenKey(KEY), Fernet(urlsafe_b64encode(KEY))
    token = key.seal(b"some octets", IV, 7)
    for bit in range(len(token) * 8):
        forged = bytearray(token)
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteProtocolError):
            key.open(forged)
        with pytest.raises(InvalidToken):
            stock.decrypt(urlsafe_b64encode(bytes(forged)))


@pytest.mark.parametrize("size", [0, 1, 57, 72, 74, 88])
def test_a_wrong_length_is_no_token(size: int) -> None:
    with pytest.raises(RemoteProtocolError, match="not a token"):
        TokenKey(KEY).open(b"\x80" * size)


def authentic(version: int, padded: bytes) -> bytes:
    """A token by a holder of the key who does not keep to the format."""
    body = bytes([version]) + bytes(8) + IV
    body += Cipher(algorithms.AES(KEY[16:]), modes.CBC(IV)).encryptor().update(padded)
    return body + hmac.digest(KEY[:16], body, "sha256")


def test_authentic_token_with_wrong_padding_is_refused() -> None:
    assert TokenKey(KEY).open(authentic(0x80, b"x" * 15 + b"\x01")) == b"x" * 15
    for last in (bytes(16), b"\x11" * 16, bytes(14) + b"\x03\x02", b"\x0f" + b"\x10" * 15):
        with pytest.raises(RemoteProtocolError, match="padding"):
            TokenKey(KEY).open(authentic(0x80, last))


def test_authentic_token_of_another_version_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="not a token"):
        TokenKey(KEY).open(authentic(0x81, b"x" * 15 + b"\x01"))


def test_misuse() -> None:
    key = TokenKey(KEY)
    token = key.seal(b"octets", IV, 7)
    with pytest.raises(LocalProtocolError, match="32 octets"):
        TokenKey(KEY[:31])
    with pytest.raises(LocalProtocolError, match="no room"):
        key.seal_parts(memoryview(bytearray(token_size(6) - 1)), [b"octets"], IV, 7)
    with pytest.raises(LocalProtocolError, match="no room"):
        key.open_into(token, memoryview(bytearray(room_to_open(len(token)) - 1)))


# -- with and without the native part ---------------------------------------------------------------------


@pytest.fixture(params=["native", "library"])
def part(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With what there is, and without the native part."""
    if request.param == "library":
        monkeypatch.setattr(lanes, "native", None)
    return request.param


@pytest.mark.parametrize("size", [0, 1, 16, 700, SMALL, SMALL + 1])
def test_a_token_is_the_same_with_either(part: str, size: int) -> None:
    plain = random.Random(size).randbytes(size)
    key = TokenKey(KEY)
    token = key.seal(plain, IV, 5)
    assert token == urlsafe_b64decode(Fernet(urlsafe_b64encode(KEY))._encrypt_from_parts(plain, 5, IV))
    assert key.open(token) == plain
    parts = bytearray(token_size(size) + 9)
    half = size // 2
    assert key.seal_parts(memoryview(parts), (plain[:half], plain[half:]), IV, 5) == len(token)
    assert parts == token + bytes(9)
    wrong = bytearray(token)
    wrong[-1] ^= 1
    with pytest.raises(AuthenticationError):
        key.open(wrong)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_several_are_sealed_where_they_lie_and_opened(part: str, count: int) -> None:
    rng = random.Random(count)
    plains = [rng.randbytes(rng.choice([0, 15, 16, 5000, 40_000])) for _ in range(count)]
    keys = [TokenKey(rng.randbytes(32)) for _ in range(count)]
    jobs = []
    for key, plain in zip(keys, plains, strict=True):
        token = memoryview(bytearray(token_size(len(plain))))
        key.lay_head(token, IV, 9)
        token[PLAIN_AT : PLAIN_AT + len(plain)] = plain
        jobs.append(Sealing(key, token, len(plain)))
    seal_all(jobs)
    assert [bytes(job.token) for job in jobs] == [
        key.seal(plain, IV, 9) for key, plain in zip(keys, plains, strict=True)
    ]
    rooms = [memoryview(bytearray(room_to_open(len(job.token)))) for job in jobs]
    opened = open_all([Opening(job.key, job.token, room) for job, room in zip(jobs, rooms, strict=True)])
    assert opened == plains
    assert all(view is not None and view.obj is room.obj for view, room in zip(opened, rooms, strict=True))


def test_what_is_no_token_is_none_and_leaves_the_others(part: str) -> None:
    key = TokenKey(KEY)
    good = key.seal(b"good", IV, 0)
    wrong = bytearray(good)
    wrong[40] ^= 1
    version = b"\x81" + good[1:]
    cases = [good, b"", bytes(wrong), good[:-1], version, bytes(1000), good]
    rooms = [memoryview(bytearray(1100)) for _ in cases]
    jobs = [Opening(key, memoryview(token), room) for token, room in zip(cases, rooms, strict=True)]
    jobs.append(Opening(key, memoryview(good), memoryview(bytearray(room_to_open(len(good)) - 1))))
    jobs.append(Opening(TokenKey(bytes(32)), memoryview(good), memoryview(bytearray(1100))))
    assert open_all(jobs) == [b"good", None, None, None, None, None, b"good", None, None]
    assert [is_token(token) for token in cases] == [True, False, True, False, False, False, True]
