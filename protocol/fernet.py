"""Raw Fernet: the octets of a Fernet token without the base64 armour. All sealing of the wire happens here.

    token = 80 | time(8) | IV(16) | AES-128-CBC, PKCS7 padded | HMAC-SHA256 over all before it (32)

The rule: authenticate first, decrypt second, and copy nothing. Input is scattered over several buffers,
output goes into a buffer of the caller, and OpenSSL releases the interpreter lock from 2 KiB up. base64url
of a token made here is a token for `cryptography.fernet.Fernet`, and the reverse (fernet/spec, Spec.md).

This module knows nothing of sessions, sequence numbers or clocks: IV and time are arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from hmac import compare_digest
from typing import TypeAlias

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hmac import HMAC

from protocol.errors import AuthenticationError, LocalProtocolError, RemoteProtocolError

Octets: TypeAlias = bytes | bytearray | memoryview
"""Anything that holds octets. Memoryviews must have one-octet items."""

VERSION = 0x80
KEY_SIZE = 32  # 16 octets for the HMAC, then 16 for AES
IV_SIZE = 16
OPEN_SLACK = 15  # octets OpenSSL may want past the end of what it writes: a block less one

_BLOCK = 16
_MAC = 32
_HEAD = 1 + 8 + IV_SIZE
_MIN_TOKEN = _HEAD + _BLOCK + _MAC
_PADDING = [bytes([n]) * n for n in range(_BLOCK + 1)]


def token_size(plain: int) -> int:
    """Octets of the token of `plain` octets."""
    return _HEAD + (plain // _BLOCK + 1) * _BLOCK + _MAC


def room_to_open(token: int) -> int:
    """Octets that `TokenKey.open_into` needs in its output buffer for a token of `token` octets."""
    return token - _HEAD - _MAC + OPEN_SLACK


class TokenKey:
    """One Fernet key, ready to seal and open. Holds no state between calls; several threads may use it."""

    __slots__ = ("_aes", "_hmac")

    def __init__(self, key: bytes) -> None:
        """`key`: 32 octets. Raises LocalProtocolError for another length."""
        if len(key) != KEY_SIZE:
            raise LocalProtocolError("a token key has 32 octets")
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
        out[0] = VERSION
        out[1:9] = timestamp.to_bytes(8, "big")
        out[9:_HEAD] = iv
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

    def open_into(self, token: Octets, out: memoryview) -> memoryview:
        """Verify `token`, decrypt it into the beginning of `out`, answer the view of the plaintext within
        `out`.

        `out` needs `room_to_open(len(token))` octets and must not overlap the token; nothing is written to
        it before the MAC is found right. Raises AuthenticationError for a wrong MAC, RemoteProtocolError
        for what is no token, LocalProtocolError when `out` is too small.
        """
        view = memoryview(token)
        end = len(view) - _MAC
        if end < _HEAD + _BLOCK or (end - _HEAD) % _BLOCK or view[0] != VERSION:
            raise RemoteProtocolError("not a token")
        size = end - _HEAD
        if len(out) < size + OPEN_SLACK:
            raise LocalProtocolError("no room for the plaintext")
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
