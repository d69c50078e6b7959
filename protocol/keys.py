"""Secrets: from what a person types to the network key, and the key of this device.

The rule: the network key is the only thing derived from a password that is kept, and it seals nothing
itself; a token under a password-derived key would let anyone who records it test guesses at home.
Everything is a pure function of its arguments.

This module does no I/O: it neither reads passwords nor stores keys, and randomness comes from the caller.
"""

from __future__ import annotations

import hashlib
import unicodedata
from base64 import b32decode, b32encode
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from protocol.errors import AuthenticationError, Fault, LocalProtocolError
from protocol.ids import DEVICE_ID_SIZE
from protocol.limits import MAX_NETWORK_NAME, MIN_PASSWORD, PBKDF2_ROUNDS, PBKDF2_ROUNDS_MIN

INVITE_PREFIX = "p2p1-"
INVITE_RANDOM = 16
NETWORK_KEY_SIZE = 32
SEED_SIZE = 32
TAG_SIZE = 8
_INVITE_CHECK = 4  # with 16 random octets exactly 32 base32 characters: one spelling, no spare bits


# -- derivation -------------------------------------------------------------------------------------------


def lp(*parts: bytes) -> bytes:
    """Each part behind its length in 4 octets, so that different lists never give the same octets."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def extract(salt: bytes, secret: bytes) -> bytes:
    """HKDF-Extract with SHA-512 (RFC 5869): 64 octets."""
    return HKDF.extract(hashes.SHA512(), salt, secret)


def expand(key: bytes, label: bytes, size: int = 32) -> bytes:
    """HKDF-Expand with SHA-512 (RFC 5869) of a uniformly random `key`, for the purpose `label`."""
    return HKDFExpand(hashes.SHA512(), size, label).derive(key)


# -- invites and passwords --------------------------------------------------------------------------------


def make_invite(random16: bytes) -> str:
    """The invite made of 16 octets from a secure generator: `p2p1-` and 32 lower-case base32 characters."""
    if len(random16) != INVITE_RANDOM:
        raise LocalProtocolError("an invite is made of 16 random octets")
    return INVITE_PREFIX + b32encode(random16 + _invite_check(random16)).decode("ascii").lower()


def is_invite(text: str) -> bool:
    """True for a well-formed invite with the right checksum; case and surrounding blanks do not matter."""
    body = text.strip().lower()
    if not body.startswith(INVITE_PREFIX) or not body.isascii():
        return False
    try:
        octets = b32decode(body[len(INVITE_PREFIX) :].upper())
    except ValueError:
        return False
    random, check = octets[:INVITE_RANDOM], octets[INVITE_RANDOM:]
    return check == _invite_check(random)


def check_password(text: str, allow_weak: bool) -> None:
    """Raises Fault("usage") for a mistyped invite, and for a short password unless `allow_weak`."""
    secret = _canonical(text)
    if is_invite(secret):
        return
    if not secret:
        raise Fault("usage", "the password is empty", "type one, or make an invite with `p2pd invite`")
    if len(secret) < MIN_PASSWORD and not allow_weak:
        raise Fault(
            "usage",
            f"the password has fewer than {MIN_PASSWORD} characters",
            "choose a longer one, or make an invite with `p2pd invite`",
        )


def _canonical(text: str) -> str:
    """The one spelling of a secret: NFC, and lower case without blanks for an invite."""
    if text.strip().lower().startswith(INVITE_PREFIX):
        if not is_invite(text):
            raise Fault(
                "usage",
                "this looks like an invite, but its checksum is wrong",
                "check it for a typing error: after p2p1- come 32 letters and digits from 2 to 7",
            )
        return text.strip().lower()
    return unicodedata.normalize("NFC", text)


def _invite_check(random: bytes) -> bytes:
    return hashlib.sha256(lp(b"p2pd/1 invite", random)).digest()[:_INVITE_CHECK]


# -- the network key --------------------------------------------------------------------------------------


def derive_network_key(password: str, network: str, epoch: int, rounds: int = PBKDF2_ROUNDS) -> bytes:
    """PBKDF2-HMAC-SHA256 of a password or invite: the network key, 32 octets. Slow on purpose (some 0.2 s).

    The salt is public and the same for all members, who must find the same key before they have ever met;
    what keeps guessing off the wire is the PAKE. Raises Fault("usage") for a mistyped invite, a bad network
    name or epoch, or rounds below the least allowed.
    """
    if rounds < PBKDF2_ROUNDS_MIN:
        raise Fault("usage", f"password rounds below {PBKDF2_ROUNDS_MIN}", f"use {PBKDF2_ROUNDS}")
    salt = hashlib.sha256(lp(b"p2pd/1 salt", network_octets(network)) + _epoch_octet(epoch)).digest()
    try:
        secret = _canonical(password).encode("utf-8")
    except UnicodeEncodeError as error:
        raise Fault("usage", "the password is not valid text", "type it in UTF-8") from error
    return hashlib.pbkdf2_hmac("sha256", secret, salt, rounds, NETWORK_KEY_SIZE)


def network_octets(network: str) -> bytes:
    """A network name as it enters keys:

    NFC, UTF-8. Raises Fault("usage") when empty, too long or not printable.
    """
    name = unicodedata.normalize("NFC", network)
    if not name or not name.isprintable() or len(name.encode("utf-8", "replace")) > MAX_NETWORK_NAME:
        raise Fault(
            "usage",
            "bad network name",
            f"a network name has 1 to {MAX_NETWORK_NAME} octets of printable text",
        )
    return name.encode("utf-8")


def _epoch_octet(epoch: int) -> bytes:
    if not 0 <= epoch <= 255:
        raise Fault("usage", "bad epoch", "an epoch is a number from 0 to 255")
    return bytes([epoch])


@dataclass(frozen=True, slots=True)
class NetworkSecret:
    """Membership of one network in one epoch. `key` is the network key, 32 octets."""

    key: bytes = field(repr=False)
    network: str
    epoch: int = 0

    def __post_init__(self) -> None:
        if len(self.key) != NETWORK_KEY_SIZE:
            raise LocalProtocolError("a network key has 32 octets")
        network_octets(self.network)
        _epoch_octet(self.epoch)

    @property
    def tag(self) -> bytes:
        """8 octets that select this network in a HELLO.

        Made of name and epoch only: nothing to test guesses on.
        """
        label = lp(b"p2pd/1 tag", network_octets(self.network)) + _epoch_octet(self.epoch)
        return hashlib.sha256(label).digest()[:TAG_SIZE]

    @property
    def check_value(self) -> str:
        """`k-` and 8 hex digits, equal for all who hold the same key.

        For a person's eyes; never sent to a peer.
        """
        return "k-" + expand(self.key, b"p2pd/1 check value", 4).hex()


# -- the device key ---------------------------------------------------------------------------------------


def device_id_of(public: bytes) -> bytes:
    """The device id (20 octets) of an Ed25519 public key (32 octets)."""
    return hashlib.sha256(public).digest()[:DEVICE_ID_SIZE]


def verify_device(public: bytes, signature: bytes, data: bytes) -> None:
    """Raises AuthenticationError unless the owner of `public` (32 octets) signed `data` (signature: 64)."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError) as error:
        raise AuthenticationError("wrong device signature") from error


class DeviceKey:
    """The Ed25519 key (RFC 8032) that makes this device the same device tomorrow."""

    __slots__ = ("_private", "device_id", "public", "seed")

    seed: bytes
    """32 octets: what to store, and nothing else."""
    public: bytes
    """32 octets."""
    device_id: bytes
    """20 octets: the beginning of SHA-256 of `public`."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_SIZE:
            raise LocalProtocolError("a device key is made of 32 octets")
        self.seed = seed
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()
        self.device_id = device_id_of(self.public)

    @classmethod
    def generate(cls, random32: bytes) -> DeviceKey:
        """A new key from 32 octets of a secure generator."""
        return cls(random32)

    @classmethod
    def from_seed(cls, seed: bytes) -> DeviceKey:
        """The key that was stored as `seed`."""
        return cls(seed)

    def sign(self, data: bytes) -> bytes:
        """The signature over `data`, 64 octets. Deterministic."""
        return self._private.sign(data)

    def __repr__(self) -> str:
        return f"DeviceKey({self.device_id.hex()[:8]})"
