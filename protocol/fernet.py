"""Raw Fernet: the octets of a Fernet token without the base64 armour. All sealing of the wire happens here.

    token = 80 | time(8) | IV(16) | AES-128-CBC, PKCS7 padded | HMAC-SHA256 over all before it (32)

The rule: authenticate first, decrypt second, and copy nothing. Input is scattered over several buffers,
output goes into a buffer of the caller, and the interpreter's lock is released from 2 KiB up. base64url
of a token made here is a token for `cryptography.fernet.Fernet`, and the reverse (fernet/spec, Spec.md).

Made of OpenSSL's parts, by `cryptography`; where there is a native part (protocol/lanes.py), that does what is small and what comes
several at a time. `TokenKey.open_into` alone says what is wrong with a token.

This module knows nothing of sessions, sequence numbers or clocks: IV and time are arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from hmac import compare_digest
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hmac import HMAC

from protocol import lanes
from protocol.errors import AuthenticationError, LocalProtocolError, ProtocolError, RemoteProtocolError
from protocol.lanes import Octets as Octets

VERSION = 0x80
KEY_SIZE = 32  # 16 octets for the HMAC, then 16 for AES
IV_SIZE = 16
OPEN_SLACK = 15  # octets OpenSSL may want past the end of what it writes: a block less one

_BLOCK = 16
_MAC = 32
PLAIN_AT = 1 + 8 + IV_SIZE  # where in a token the plaintext lies before it is encrypted
SMALL = 16 * 1024  # octets: up to here the native part is quicker, though it wants the plaintext in one place

_HEAD = PLAIN_AT
_MIN_TOKEN = _HEAD + _BLOCK + _MAC
_PADDING = [bytes([n]) * n for n in range(_BLOCK + 1)]


def token_size(plain: int) -> int:
    """Octets of the token of `plain` octets."""
    return _HEAD + (plain // _BLOCK + 1) * _BLOCK + _MAC


def room_to_open(token: int) -> int:
    """Octets that `TokenKey.open_into` needs in its output buffer for a token of `token` octets."""
    return token - _HEAD - _MAC + OPEN_SLACK


def is_token(octets: Octets) -> bool:
    """Has it the length and the version of a token?"""
    size = len(octets) - _HEAD - _MAC
    return size >= _BLOCK and not size % _BLOCK and octets[0] == VERSION


class TokenKey:
    """One Fernet key, ready to seal and open. Holds no state between calls; several threads may use it."""

    __slots__ = ("_aes", "_hmac", "secret")

    def __init__(self, key: bytes) -> None:
        """`key`: 32 octets. Raises LocalProtocolError for another length."""
        if len(key) != KEY_SIZE:
            raise LocalProtocolError("a token key has 32 octets")
        self.secret = bytes(key)
        # Copying a keyed HMAC costs a third of making one.
        self._hmac = HMAC(key[:16], hashes.SHA256())
        self._aes = algorithms.AES(key[16:])

    def seal_parts(self, out: memoryview, parts: Sequence[Octets], iv: bytes, timestamp: int) -> int:
        """Seal the concatenation of `parts` into the beginning of `out`; answers the octets of the token.

        `out` is writable, of one-octet items, at least `token_size(sum of parts)` long and overlaps no
        part. `iv` is 16 octets, never used twice with this key and not predictable. `timestamp`: unix
        seconds. Raises LocalProtocolError when `out` is too small.
        """
        plain = 0
        for part in parts:
            plain += len(part)
        size = _HEAD + (plain // _BLOCK + 1) * _BLOCK + _MAC
        if len(out) < size:
            raise LocalProtocolError("no room for the token")
        self.lay_head(out, iv, timestamp)
        if plain <= SMALL and lanes.native is not None:
            at = _HEAD
            for part in parts:
                end = at + len(part)
                out[at:end] = part
                at = end
            lanes.native[0](((self.secret, out[:size], plain),))
            return size
        encryptor = Cipher(self._aes, modes.CBC(iv)).encryptor()
        # The room of the MAC behind the ciphertext is the slack that update_into asks for.
        at = _HEAD
        for part in parts:
            at += encryptor.update_into(part, out[at:size])
        at += encryptor.update_into(_PADDING[_BLOCK - plain % _BLOCK], out[at:size])
        encryptor.finalize()
        mac = self._hmac.copy()
        mac.update(out[:at])
        out[at:size] = mac.finalize()
        return size

    def lay_head(self, out: memoryview, iv: bytes, timestamp: int) -> None:
        """The first PLAIN_AT octets of a token; arguments as in `seal_parts`. The plaintext belongs behind them."""
        out[0] = VERSION
        out[1:9] = timestamp.to_bytes(8, "big")
        out[9:_HEAD] = iv

    def seal_laid(self, token: memoryview, plain: int) -> None:
        """Seal `plain` octets of plaintext where they lie, behind the head. `token` has `token_size(plain)` octets, all writable."""
        end = len(token) - _MAC
        token[_HEAD + plain : end] = _PADDING[_BLOCK - plain % _BLOCK]
        encryptor = Cipher(self._aes, modes.CBC(bytes(token[9:_HEAD]))).encryptor()
        encryptor.update_into(token[_HEAD:end], token[_HEAD:])
        encryptor.finalize()
        mac = self._hmac.copy()
        mac.update(token[:end])
        token[end:] = mac.finalize()

    def open_into(self, token: Octets, out: memoryview) -> memoryview:
        """Verify `token`, decrypt it into the beginning of `out`, answer the view of the plaintext within
        `out`.

        `out` needs `room_to_open(len(token))` octets and must not overlap the token; nothing is written to
        it before the MAC is found right. Raises AuthenticationError for a wrong MAC, RemoteProtocolError
        for what is no token, LocalProtocolError when `out` is too small.
        """
        view = memoryview(token)
        if not is_token(view):
            raise RemoteProtocolError("not a token")
        end = len(view) - _MAC
        size = end - _HEAD
        if len(out) < size + OPEN_SLACK:
            raise LocalProtocolError("no room for the plaintext")
        if size <= SMALL and lanes.native is not None:
            (found,) = lanes.native[1](((self.secret, view, out),))
            if found == lanes.WRONG_MAC:
                raise AuthenticationError("wrong MAC")
            if found < 0:
                raise RemoteProtocolError("wrong padding")
            return out[:found]
        mac = self._hmac.copy()
        mac.update(view[:end])
        if not compare_digest(mac.finalize(), view[end:]):
            raise AuthenticationError("wrong MAC")
        decryptor = Cipher(self._aes, modes.CBC(bytes(view[9:_HEAD]))).decryptor()
        decryptor.update_into(view[_HEAD:end], out[: size + OPEN_SLACK])
        decryptor.finalize()
        # No padding oracle: only a holder of the key gets as far as this.
        padding = out[size - 1]
        if not 1 <= padding <= _BLOCK or out[size - padding : size] != _PADDING[padding]:
            raise RemoteProtocolError("wrong padding")
        return out[: size - padding]

    def seal(self, plain: Octets, iv: bytes, timestamp: int) -> bytes:
        """The token of `plain` in octets of its own. For small messages."""
        out = bytearray(token_size(len(plain)))
        self.seal_parts(memoryview(out), (plain,), iv, timestamp)
        return bytes(out)

    def open(self, token: Octets) -> bytes:
        """The plaintext of `token` in octets of its own. For small messages; raises as `open_into` does."""
        return bytes(self.open_into(token, memoryview(bytearray(max(len(token), _MIN_TOKEN)))))


# -- several at a time ------------------------------------------------------------------------------------


class Sealing(NamedTuple):
    """A token to be. `token` has exactly its size and holds its head (TokenKey.lay_head) and, behind it, `plain` octets of plaintext."""

    key: TokenKey
    token: memoryview
    plain: int


class Opening(NamedTuple):
    """A token to be opened into `out`, which has `room_to_open(len(token))` octets and does not overlap it."""

    key: TokenKey
    token: memoryview
    out: memoryview


def seal_all(jobs: Sequence[Sealing]) -> None:
    """Seals up to lanes.MOST tokens where they lie."""
    if lanes.native is not None:
        lanes.native[0]([(key.secret, token, plain) for key, token, plain in jobs])
        return
    for key, token, plain in jobs:
        key.seal_laid(token, plain)


def open_all(jobs: Sequence[Opening]) -> list[memoryview | None]:
    """The plaintext of each of up to lanes.MOST tokens within its `out`; None for what is no token under that key, or has no room."""
    found: list[memoryview | None] = [None] * len(jobs)
    if lanes.native is None:
        for at, (key, token, out) in enumerate(jobs):
            try:
                found[at] = key.open_into(token, out)
            except ProtocolError:
                pass
        return found
    fit = [
        at
        for at, (_, token, out) in enumerate(jobs)
        if is_token(token) and len(out) >= room_to_open(len(token))
    ]
    sizes = lanes.native[1]([(jobs[at].key.secret, jobs[at].token, jobs[at].out) for at in fit])
    for at, size in zip(fit, sizes, strict=True):
        if size >= 0:
            found[at] = jobs[at].out[:size]
    return found
