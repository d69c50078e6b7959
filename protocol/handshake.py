"""The handshake: two strangers with the same password become a session. Octets in, octets out, no waiting.

The rules: nothing on the wire can be tested against a guessed password; the initiator proves first, so a
failed guess is seen by the responder; each key is bound to every octet sent so far and names its role. One
object is one run and is dead after the first error. Each method does all of its work at once (some 0.5 ms)
and touches its own object only: call it in any thread. Specification: docs/protocol.md, "Handshake".

This module knows no addresses, clocks, rate limits or bans: the shell decides whom to answer at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from hmac import compare_digest

from protocol.codec import encode
from protocol.errors import AuthenticationError, LocalProtocolError, Refusal
from protocol.fernet import IV_SIZE, Octets, TokenKey
from protocol.frames import (
    ACCEPT,
    PROVE,
    Dialect,
    HandshakeRefused,
    Hello,
    Info,
    Offer,
    Proof,
    make_hello,
    make_offer,
    make_refuse,
    parse_hello,
    parse_offer,
    parse_proof,
    parse_refuse,
    take_answer,
    take_frame,
)
from protocol.ids import SID_SIZE
from protocol.keys import (
    DeviceKey,
    NetworkSecret,
    device_id_of,
    expand,
    extract,
    lp,
    network_octets,
    verify_device,
)
from protocol.limits import MAX_PROOF
from protocol.pake import Entropy, Pake
from protocol.version import WIRE_VERSION

__all__ = [
    "Dialect",
    "Established",
    "HandshakeRefused",
    "Info",
    "Initiator",
    "Responder",
    "WrongDevice",
    "make_refuse",
    "parse_refuse",
]

VERSIONS = (WIRE_VERSION,)
SUITES = (1,)  # 1: SPAKE2 on Ed25519, HKDF-SHA512, raw Fernet

_NONCE = 32


class WrongDevice(HandshakeRefused):
    """The other end proved membership, but it is this very device, or not the device that was expected."""

    def __init__(self, device_id: bytes) -> None:
        super().__init__(Refusal.BAD_REQUEST)
        self.device_id = device_id


@dataclass(frozen=True, slots=True)
class Established:
    """What a finished handshake leaves behind: all that a Session needs, and who is at the other end."""

    sid: bytes
    """8 octets, the same at both ends."""
    send_key: bytes = field(repr=False)
    """32 octets; the other end's `recv_key`."""
    recv_key: bytes = field(repr=False)
    device_id: bytes
    """20 octets: the device at the other end."""
    info: Info
    """What the other end told about itself."""
    initiator: bool
    """True at the end that dialled."""
    dialect: Dialect
    version: int
    suite: int


# -- keys -------------------------------------------------------------------------------------------------


class _Schedule:
    """Every key of a run, from the PAKE key and the frames as sent (docs/protocol.md, "Key schedule")."""

    def __init__(self, shared: bytes, hello: bytes, offer: bytes) -> None:
        self.first = hashlib.sha512(lp(hello, offer)).digest()
        self.second = b""
        self._root = extract(self.first, shared)
        self.initiator_key = TokenKey(expand(self._root, b"p2pd/1 handshake key initiator"))
        self.responder_key = TokenKey(expand(self._root, b"p2pd/1 handshake key responder"))

    def proved(self, prove: bytes) -> None:
        """Take PROVE into the transcript."""
        self.second = hashlib.sha512(lp(self.first, prove)).digest()

    @property
    def initiator_confirmation(self) -> bytes:
        return expand(self._root, lp(b"p2pd/1 confirmation initiator", self.first))

    @property
    def responder_confirmation(self) -> bytes:
        return expand(self._root, lp(b"p2pd/1 confirmation responder", self.second))

    def session(self, accept: bytes) -> tuple[bytes, bytes, bytes]:
        """(sid, key initiator to responder, key responder to initiator)."""
        third = hashlib.sha512(lp(self.second, accept)).digest()
        main = extract(third, expand(self._root, b"p2pd/1 main", 64))
        return (
            expand(main, b"p2pd/1 sid", SID_SIZE),
            expand(main, b"p2pd/1 record key initiator to responder"),
            expand(main, b"p2pd/1 record key responder to initiator"),
        )


def _signed(role: str, transcript: bytes, public: bytes) -> bytes:
    """What a device signs."""
    return lp(b"p2pd/1 signature " + role.encode("ascii"), transcript, public)


# -- the two machines -------------------------------------------------------------------------------------


class State(Enum):
    """Where a run is."""

    START = "start"
    WAIT_OFFER = "wait for OFFER"
    WAIT_PROVE = "wait for PROVE"
    WAIT_ACCEPT = "wait for ACCEPT"
    DONE = "done"
    FAILED = "failed"


TRANSITIONS = {
    ("initiator", State.START, "hello"): State.WAIT_OFFER,
    ("initiator", State.WAIT_OFFER, "receive_offer"): State.WAIT_ACCEPT,
    ("initiator", State.WAIT_ACCEPT, "receive_accept"): State.DONE,
    ("responder", State.START, "receive_hello"): State.WAIT_PROVE,
    ("responder", State.WAIT_PROVE, "receive_prove"): State.DONE,
}
"""(role, state, method) -> state after success. What is missing is misuse; what raises leads to FAILED."""


class _Machine:
    """What both ends share: state, proofs and their check."""

    role: str
    secret: NetworkSecret
    """The membership that this run is about; a responder with several knows it once HELLO has come."""

    def __init__(
        self, secret: NetworkSecret, device: DeviceKey, info: Info, dialect: int, entropy: Entropy
    ) -> None:
        self.state = State.START
        self.secret = secret
        self._device = device
        self._info = info
        self._dialect = Dialect(dialect)
        self._entropy = entropy
        self._hello = b""
        self._offer = b""
        self._choice = (0, 0)
        self._pake: Pake
        self._keys: _Schedule

    def _begin(self, method: str) -> State:
        """The state after `method`; until the method sets it, the run counts as failed."""
        after = TRANSITIONS.get((self.role, self.state, method))
        if after is None:
            raise LocalProtocolError(f"{method} in state {self.state.value!r}")
        self.state = State.FAILED
        return after

    def _start_pake(self) -> Pake:
        context = lp(network_octets(self.secret.network), bytes((self.secret.epoch, self._dialect)))
        return Pake(self.role == "initiator", self.secret.key, context, self._entropy)

    def _agree(self, element: bytes) -> _Schedule:
        shared = self._pake.finish(element)
        del self._pake
        self._keys = _Schedule(shared, self._hello, self._offer)
        return self._keys

    def _prove(self, kind: int, key: TokenKey, confirmation: bytes, transcript: bytes) -> bytes:
        """A PROVE or ACCEPT frame."""
        public = self._device.public
        signature = self._device.sign(_signed(self.role, transcript, public))
        body = encode(Proof(confirmation, public, signature, self._info))
        # The handshake has no clock: its tokens carry time 0.
        frame = bytes((kind,)) + key.seal(body, self._entropy(IV_SIZE), 0)
        if len(frame) > MAX_PROOF:
            raise LocalProtocolError("info too long")
        return frame

    def _check(self, token: bytes, key: TokenKey, confirmation: bytes, role: str, transcript: bytes) -> Proof:
        """The proof in a PROVE or ACCEPT, if the other end is a member and the device it says it is."""
        proof = parse_proof(key.open(token))
        if not compare_digest(proof.confirmation, confirmation):
            raise AuthenticationError("wrong confirmation")
        verify_device(proof.public, proof.signature, _signed(role, transcript, proof.public))
        if proof.public == self._device.public:
            raise WrongDevice(self._device.device_id)
        return proof

    def _established(self, accept: bytes, proof: Proof) -> Established:
        initiator = self.role == "initiator"
        sid, forth, back = self._keys.session(accept)
        del self._keys
        return Established(
            sid=sid,
            send_key=forth if initiator else back,
            recv_key=back if initiator else forth,
            device_id=device_id_of(proof.public),
            info=proof.info,
            initiator=initiator,
            dialect=self._dialect,
            version=self._choice[0],
            suite=self._choice[1],
        )


class Initiator(_Machine):
    """The end that dials: `hello`, `receive_offer`, `receive_accept`, in this order, each once.

    `secret` is the membership, `device` our key, `info` what we tell, `dialect` what we want to talk about,
    `entropy` is os.urandom, `expected_device` the 20-octet id that must answer, if known.
    """

    role = "initiator"

    def __init__(
        self,
        secret: NetworkSecret,
        device: DeviceKey,
        info: Info,
        dialect: int,
        entropy: Entropy,
        expected_device: bytes | None = None,
    ) -> None:
        super().__init__(secret, device, info, dialect, entropy)
        self._expected = expected_device

    def hello(self) -> bytes:
        """The HELLO frame, HELLO_SIZE octets."""
        after = self._begin("hello")
        nonce = self._entropy(_NONCE)
        self._pake = self._start_pake()
        self._hello = make_hello(
            Hello(
                versions=list(VERSIONS),
                suites=list(SUITES),
                tag=self.secret.tag,
                epoch=self.secret.epoch,
                nonce=nonce,
                dialect=self._dialect,
                element=self._pake.message,
            )
        )
        self.state = after
        return self._hello

    def receive_offer(self, frame: Octets) -> bytes:
        """The PROVE frame that answers an OFFER.

        Raises HandshakeRefused for a REFUSE (received) or a choice that was not offered,
        RemoteProtocolError for garbage.
        """
        after = self._begin("receive_offer")
        self._offer, offer = parse_offer(frame)
        self._choice = version, suite = offer.choice
        if version not in VERSIONS or suite not in SUITES:
            raise HandshakeRefused(Refusal.VERSION)
        keys = self._agree(offer.element)
        prove = self._prove(PROVE, keys.initiator_key, keys.initiator_confirmation, keys.first)
        keys.proved(prove)
        self.state = after
        return prove

    def receive_accept(self, frame: Octets) -> Established:
        """The session that an ACCEPT opens.

        Raises AuthenticationError when the other end does not hold the network key, WrongDevice when it is
        not the expected device or is ourselves, HandshakeRefused for a REFUSE (received),
        RemoteProtocolError for garbage.
        """
        after = self._begin("receive_accept")
        accept = take_answer(frame, ACCEPT, MAX_PROOF)
        keys = self._keys
        proof = self._check(
            accept[1:], keys.responder_key, keys.responder_confirmation, "responder", keys.second
        )
        device_id = device_id_of(proof.public)
        if self._expected is not None and device_id != self._expected:
            raise WrongDevice(device_id)
        established = self._established(accept, proof)
        self.state = after
        return established


class Responder(_Machine):
    """The end that listens: `receive_hello`, `receive_prove`, each once. Arguments as for Initiator.

    `others` are memberships of other epochs that are accepted too; HELLO says which one it is about.
    """

    role = "responder"

    def __init__(
        self,
        secret: NetworkSecret,
        device: DeviceKey,
        info: Info,
        dialect: int,
        entropy: Entropy,
        others: Sequence[NetworkSecret] = (),
    ) -> None:
        super().__init__(secret, device, info, dialect, entropy)
        self._accepted = (secret, *others)

    def receive_hello(self, frame: Octets) -> bytes:
        """The OFFER frame that answers a HELLO. Nothing in it can be tested against a guessed password.

        Raises HandshakeRefused with VERSION, UNKNOWN_NETWORK or WRONG_ROLE, RemoteProtocolError for garbage.
        """
        after = self._begin("receive_hello")
        self._hello, hello = parse_hello(frame)
        versions = set(VERSIONS) & set(hello.versions)
        suites = set(SUITES) & set(hello.suites)
        if not versions or not suites:
            raise HandshakeRefused(Refusal.VERSION)
        meant = [s for s in self._accepted if (s.tag, s.epoch) == (hello.tag, hello.epoch)]
        if not meant:
            raise HandshakeRefused(Refusal.UNKNOWN_NETWORK)
        self.secret = meant[0]
        if hello.dialect != self._dialect:
            raise HandshakeRefused(Refusal.WRONG_ROLE)
        self._choice = max(versions), max(suites)
        nonce = self._entropy(_NONCE)
        self._pake = self._start_pake()
        # The other half of the PAKE waits for PROVE: a HELLO alone must not cost us more than it must.
        self._element = hello.element
        self._offer = make_offer(Offer(self._choice, nonce, self._pake.message))
        self.state = after
        return self._offer

    def receive_prove(self, frame: Octets) -> tuple[bytes, Established]:
        """The ACCEPT frame that answers a PROVE, and the session, which begins when ACCEPT has been sent.

        Raises AuthenticationError for a wrong password (count it, answer BAD_PROOF), WrongDevice for
        ourselves, RemoteProtocolError for garbage.
        """
        after = self._begin("receive_prove")
        prove = take_frame(frame, PROVE, MAX_PROOF)
        keys = self._agree(self._element)
        proof = self._check(
            prove[1:], keys.initiator_key, keys.initiator_confirmation, "initiator", keys.first
        )
        keys.proved(prove)
        accept = self._prove(ACCEPT, keys.responder_key, keys.responder_confirmation, keys.second)
        established = self._established(accept, proof)
        self.state = after
        return accept, established
