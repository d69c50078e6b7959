"""The password-authenticated key exchange of suite 1:

SPAKE2 over Ed25519. The only user of the `spake2` package.

The rule: what is sent tells nothing about the password, and both ends find the same key only if they hold
the same network key and the same context. One object is one run; about 4 ms to start and 6 ms to finish, in
pure Python.

This module knows no messages and no transcript: the handshake binds the key to those.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from spake2 import SPAKE2_A, SPAKE2_B
from spake2.ed25519_basic import NotOnCurve
from spake2.spake2 import SPAKEError

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.keys import expand, lp

Entropy: TypeAlias = Callable[[int], bytes]
"""`entropy(n)` gives n octets nobody can predict: os.urandom."""

MESSAGE_SIZE = 32  # a compressed Edwards point


class Pake:
    """One end of one run. Make it, send `message`, then `finish` with the other's."""

    message: bytes
    """32 octets for the other end."""

    def __init__(self, initiator: bool, network_key: bytes, context: bytes, entropy: Entropy) -> None:
        kind, self._other_side = (SPAKE2_A, b"B") if initiator else (SPAKE2_B, b"A")
        # The roles are in the two identities, so a run never succeeds with a copy of itself.
        self._run = kind(
            expand(network_key, b"p2pd/1 pake"),
            idA=lp(b"p2pd/1 initiator", context),
            idB=lp(b"p2pd/1 responder", context),
            entropy_f=entropy,
        )
        # The package puts one octet in front that names the side; the type of our message says it already.
        self.message = self._run.start()[1:]
        self._finished = False

    def finish(self, other: bytes) -> bytes:
        """The shared key, 32 octets, given the other end's message. Once only.

        A wrong password is not noticed here: the two keys differ. Raises RemoteProtocolError for a message
        that is no element of the group or is our own, LocalProtocolError for a second call.
        """
        if self._finished:
            raise LocalProtocolError("a PAKE run finishes once")
        self._finished = True
        if len(other) != MESSAGE_SIZE:
            raise RemoteProtocolError("not a PAKE message")
        try:
            key: bytes = self._run.finish(self._other_side + other)
        except (SPAKEError, NotOnCurve, ValueError, AssertionError) as error:
            raise RemoteProtocolError("not a PAKE message") from error
        return key
