"""Two ends of the secured wire joined without a network, the same on every run.

`Seeded` stands in for os.urandom; everything made from the same seeds is made of the same octets.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from protocol.fernet import TokenKey
from protocol.handshake import Dialect, Established, Info, Initiator, Responder
from protocol.keys import DeviceKey, NetworkSecret
from protocol.session import Event, Session

NETWORK = "example"
NETWORK_KEY = bytes(range(32))
UNIX_TIME = 1_790_000_000
ROOM = 2 * 1024 * 1024


class Seeded:
    """Octets that look random and depend on the seed only: SHA-256 of seed and counter. Not for secrets."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._counter = 0
        self._ready = b""

    def __call__(self, size: int) -> bytes:
        """The next `size` octets."""
        while len(self._ready) < size:
            self._ready += hashlib.sha256(self._seed + self._counter.to_bytes(8, "big")).digest()
            self._counter += 1
        octets, self._ready = self._ready[:size], self._ready[size:]
        return octets


def make_secret(key: bytes = NETWORK_KEY, network: str = NETWORK, epoch: int = 0) -> NetworkSecret:
    """A membership that cost no key derivation."""
    return NetworkSecret(key=key, network=network, epoch=epoch)


def make_device(name: str) -> DeviceKey:
    """The device key of this name."""
    return DeviceKey.from_seed(hashlib.sha256(b"device " + name.encode()).digest())


def make_initiator(
    name: str = "initiator",
    secret: NetworkSecret | None = None,
    device: DeviceKey | None = None,
    dialect: int = Dialect.PEER,
    expected_device: bytes | None = None,
) -> Initiator:
    """The dialling end of a handshake, with entropy seeded by `name`."""
    return Initiator(
        secret or make_secret(),
        device or make_device(name),
        Info(software="p2pd/test initiator", listen_port=8001),
        dialect,
        Seeded(name),
        expected_device,
    )


def make_responder(
    name: str = "responder",
    secret: NetworkSecret | None = None,
    device: DeviceKey | None = None,
    dialect: int = Dialect.PEER,
) -> Responder:
    """The listening end of a handshake, with entropy seeded by `name`."""
    return Responder(
        secret or make_secret(),
        device or make_device(name),
        Info(software="p2pd/test responder", listen_port=8002),
        dialect,
        Seeded(name),
    )


@dataclass
class Run:
    """A finished handshake: its four frames, and what each end has of it."""

    hello: bytes
    offer: bytes
    prove: bytes
    accept: bytes
    initiator: Established
    responder: Established


def run_handshake(initiator: Initiator, responder: Responder) -> Run:
    """Carry the four frames between two ends. Raises what they raise."""
    hello = initiator.hello()
    offer = responder.receive_hello(hello)
    prove = initiator.receive_offer(offer)
    accept, there = responder.receive_prove(prove)
    here = initiator.receive_accept(accept)
    return Run(hello, offer, prove, accept, here, there)


@dataclass
class Pair:
    """Two sessions, one at each end: `a` dialled, `b` listened."""

    a: Session
    b: Session


def make_established(seed: str = "pair", dialect: int = Dialect.PEER) -> tuple[Established, Established]:
    """(initiator's, responder's) outcome as of a handshake, without the cost of one."""
    entropy = Seeded(seed)
    sid, forth, back = entropy(8), entropy(32), entropy(32)
    a, b = make_device(f"{seed} a"), make_device(f"{seed} b")
    kind = Dialect(dialect)
    return (
        Established(sid, forth, back, b.device_id, Info("p2pd/test b"), True, kind, 1, 1),
        Established(sid, back, forth, a.device_id, Info("p2pd/test a"), False, kind, 1, 1),
    )


def make_pair(seed: str = "pair", now: float = 0.0, dialect: int = Dialect.PEER) -> Pair:
    """Two sessions that belong together, without the cost of a handshake."""
    here, there = make_established(seed, dialect)
    return Pair(
        Session(here, now, UNIX_TIME, Seeded(f"{seed} iv a")),
        Session(there, now, UNIX_TIME, Seeded(f"{seed} iv b")),
    )


def handshake_pair(now: float = 0.0) -> Pair:
    """Two sessions out of a whole handshake (some 20 ms)."""
    run = run_handshake(make_initiator(), make_responder())
    return Pair(
        Session(run.initiator, now, UNIX_TIME, Seeded("iv a")),
        Session(run.responder, now, UNIX_TIME, Seeded("iv b")),
    )


def receive(session: Session, record: bytes, now: float = 0.0) -> Event:
    """What `record` says to `session`, in a buffer of its own."""
    return session.open_into(record, memoryview(bytearray(ROOM)), now)


def forge(
    seq: int, header: bytes, payload: bytes = b"", length: int | None = None, seed: str = "pair"
) -> bytes:
    """A record by the true holder of the sending key of `make_pair(seed).a`, with any contents."""
    here, _ = make_established(seed)
    size = len(header) if length is None else length
    plain = seq.to_bytes(8, "big") + size.to_bytes(2, "big") + header + payload
    return b"\x10" + here.sid + TokenKey(here.send_key).seal(plain, bytes(16), 0)
