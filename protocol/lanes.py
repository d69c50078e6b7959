"""The native part of sealing, where there is one: several tokens at a time, and little to pay for a small one.

CBC and HMAC are chains, so one token leaves most of a core idle; tokens are independent of each other. protocol/native/ (x86-64 with
AES and SHA instructions) works on up to four of them in step, and hashes while it encrypts. The octets are those that protocol/fernet.py
makes from `cryptography`: a check at import compares known tokens, and what fails it is not used. Without a compiler, or on another
processor, there is no native part.

This module knows keys as octets and tokens as buffers; who judges what they say is protocol/fernet.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TypeAlias

Octets: TypeAlias = bytes | bytearray | memoryview
"""Anything that holds octets. Memoryviews must have one-octet items."""

STEP = 2  # tokens that a daemon waits for: four are quicker by a tenth, but what they hold no longer fits the nearer caches
MOST = 64  # tokens in one call

WRONG_MAC, WRONG_PADDING = -1, -2

Seal: TypeAlias = Callable[[Sequence[tuple[bytes, "bytearray | memoryview", int]]], None]
"""Of up to MOST (key, token, plain): a key of 32 octets, a buffer of exactly the token's size that holds its head of 25 octets and `plain`
octets of plaintext behind it. Pads, encrypts and signs each where it lies. Raises ValueError for other sizes; then nothing is done."""

Open: TypeAlias = Callable[[Sequence[tuple[bytes, Octets, "bytearray | memoryview"]]], list[int]]
"""Of up to MOST (key, token, out): the octets of each plaintext, which is written to `out` (as long as the ciphertext, and elsewhere);
WRONG_MAC: nothing is written; or WRONG_PADDING. Raises ValueError for other sizes; then nothing is done."""

_HEAD, _MAC, _BLOCK = 25, 32, 16
_PLAINS = [bytes(range(size)) * 3 for size in (0, 5, 16, 80, 33, 255)]
_KEYS = [bytes([7 * at] * 16 + [at] * 16) for at in range(len(_PLAINS))]
KNOWN = "d9f2974dd74f8d5503385bcc0c73d3a68e4e527a731ab3d6bebc953dbe712304"  # SHA-256 of the tokens of these, see `known`


def known(at: int) -> tuple[bytes, bytes, bytes]:
    """What the check seals: a key, the head of its token (version, time `at`, an IV), a plaintext."""
    return _KEYS[at], b"\x80" + at.to_bytes(8, "big") + bytes(range(at, at + _BLOCK)), _PLAINS[at]


def _agrees(seal: Seal, open_: Open) -> bool:
    """All numbers of lanes, ends of all kinds, a wrong MAC."""
    count = len(_PLAINS)
    jobs = []
    for at in range(count):
        key, head, plain = known(at)
        size = _HEAD + (len(plain) // _BLOCK + 1) * _BLOCK + _MAC
        jobs.append((key, bytearray((head + plain).ljust(size, b"\0")), len(plain)))
    for first, last in ((0, 1), (1, 3), (3, count)):
        seal(jobs[first:last])
    tokens = [bytes(token) for _, token, _ in jobs]
    if sha256(b"".join(tokens)).hexdigest() != KNOWN:
        return False
    wrong = bytearray(tokens[-1])
    wrong[-1] ^= 1
    rooms = [bytearray(len(token)) for token in [*tokens, wrong]]
    keys = [*_KEYS, _KEYS[-1]]
    sizes = open_(list(zip(keys, [*tokens, wrong], rooms, strict=True)))
    opened = [bytes(room[:size]) for size, room in zip(sizes[:count], rooms, strict=False)]
    return opened == _PLAINS and sizes[count:] == [WRONG_MAC] and not any(rooms[-1])


def _load() -> tuple[Seal, Open] | None:
    try:
        from protocol import _lanes

        return (_lanes.seal, _lanes.open) if _agrees(_lanes.seal, _lanes.open) else None
    except Exception:  # none, or that of another version: whatever is wrong with it, there is the way without
        return None


native: tuple[Seal, Open] | None = _load()
"""(seal, open), or None where there is no native part."""
