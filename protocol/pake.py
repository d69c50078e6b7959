"""The password-authenticated key exchange of suite 1: SPAKE2 over Ed25519. The only user of libsodium's group (PyNaCl).

The rule: what is sent tells nothing about the password, and both ends find the same key only if they hold the same network
key and the same context. What is computed with secrets takes the same time whatever they are; numbers stay octets, for
Python's integers would not. One object is one run; 0.2 ms to start and 0.3 ms to finish, without the interpreter's lock.

This module knows no messages and no transcript: the handshake binds the key to those. Specification: docs/protocol.md,
"Suite 1"; it agrees with the package `spake2` 0.9, which tests compare it with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeAlias

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_is_valid_point,
    crypto_core_ed25519_scalar_reduce,
    crypto_core_ed25519_sub,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
)
from nacl.exceptions import CryptoError

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.keys import expand, lp

Entropy: TypeAlias = Callable[[int], bytes]
"""`entropy(n)` gives n octets nobody can predict: os.urandom."""

MESSAGE_SIZE = 32  # a compressed Edwards point

# Points that nobody knows the logarithm of: hashed from "M" and "N" by the package `spake2`.
M = bytes.fromhex("15cfd18e385952982b6a8f8c7854963b58e34388c8e6dae891db756481a02312")
N = bytes.fromhex("f04f2e7eb734b2a8f8b472eaf9c3c632576ac64aea650b496a8a20ff00e583c3")

_WIDE = 64  # octets that are taken modulo the group order


class Pake:
    """One end of one run. Make it, send `message`, then `finish` with the other's."""

    message: bytes
    """32 octets for the other end."""

    def __init__(self, initiator: bool, network_key: bytes, context: bytes, entropy: Entropy) -> None:
        password = expand(network_key, b"p2pd/1 pake")
        self._initiator = initiator
        # The roles are in the two identities, so a run never succeeds with a copy of itself.
        self._names = b"".join(
            hashlib.sha256(octets).digest()
            for octets in (password, lp(b"p2pd/1 initiator", context), lp(b"p2pd/1 responder", context))
        )
        own, others = (M, N) if initiator else (N, M)
        blind = _scalar(HKDF(hashes.SHA256(), 48, b"", b"SPAKE2 pw").derive(password))
        self._secret = _scalar(entropy(_WIDE))
        try:
            self._unblind = crypto_scalarmult_ed25519_noclamp(blind, others)
            self.message = crypto_core_ed25519_add(
                crypto_scalarmult_ed25519_base_noclamp(self._secret),
                crypto_scalarmult_ed25519_noclamp(blind, own),
            )
        except CryptoError as error:  # a number was 0: once in 2^252 runs, or bad entropy
            raise LocalProtocolError("no element for this entropy") from error
        self._finished = False

    def finish(self, other: bytes) -> bytes:
        """The shared key, 32 octets, given the other end's message. Once only.

        A wrong password is not noticed here: the two keys differ. Raises RemoteProtocolError for a message
        that is no element of the group or is our own, LocalProtocolError for a second call.
        """
        if self._finished:
            raise LocalProtocolError("a PAKE run finishes once")
        self._finished = True
        secret, unblind = self._secret, self._unblind
        del self._secret, self._unblind
        # On the curve, in the subgroup of prime order, not neutral, and in its one encoding.
        if (
            len(other) != MESSAGE_SIZE
            or other == self.message
            or not crypto_core_ed25519_is_valid_point(other)
        ):
            raise RemoteProtocolError("not a PAKE message")
        try:
            element = crypto_scalarmult_ed25519_noclamp(secret, crypto_core_ed25519_sub(other, unblind))
        except CryptoError as error:  # the blind alone: whoever sends it knows the password and gives nothing
            raise RemoteProtocolError("not a PAKE message") from error
        first, second = (self.message, other) if self._initiator else (other, self.message)
        return hashlib.sha256(self._names + first + second + element).digest()


def _scalar(number: bytes) -> bytes:
    """A number of up to 64 octets, the highest first, modulo the group order: as libsodium writes it, the lowest first."""
    return crypto_core_ed25519_scalar_reduce(number[::-1].ljust(_WIDE, b"\0"))
