"""Golden vectors: made anew, followed from the words of the specification, and quoted by it."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from base64 import urlsafe_b64encode
from pathlib import Path

import msgpack
import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from spake2 import SPAKE2_A

from protocol.codec import encode
from protocol.keys import NetworkSecret, derive_network_key, expand, make_invite
from protocol.session import Closed, KeyUpdated, Opened, Pinged, Ponged, Session
from tests.fakes.pair import (
    UNIX_TIME,
    Seeded,
    make_device,
    make_established,
    make_initiator,
    make_responder,
    receive,
    run_handshake,
)

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse battery staple"
ROUNDS = 600_000


def specification() -> str:
    """docs/protocol.md without blanks, so that hex may be broken into lines."""
    return re.sub(r"\s+", "", (ROOT / "docs/protocol.md").read_text(encoding="utf-8"))


# -- handshake --------------------------------------------------------------------------------------------


def consumed(name: str) -> dict[str, str]:
    """The octets that an end takes from its entropy, in this order."""
    entropy = Seeded(name)
    return {"nonce": entropy(32).hex(), "scalar": entropy(64).hex(), "iv": entropy(16).hex()}


def handshake_vector() -> dict:
    """tests/vectors/handshake.json, made anew."""
    secret = NetworkSecret(derive_network_key(PASSWORD, "example", 0, ROUNDS), "example", 0)
    run = run_handshake(make_initiator(secret=secret), make_responder(secret=secret))
    devices = {name: make_device(name) for name in ("initiator", "responder")}
    return {
        "secret": {
            "password": PASSWORD,
            "network": "example",
            "epoch": 0,
            "rounds": ROUNDS,
            "network_key": secret.key.hex(),
            "tag": secret.tag.hex(),
            "check_value": secret.check_value,
        },
        "invite": {"random": bytes(range(16)).hex(), "text": make_invite(bytes(range(16)))},
        "dialect": 2,
        **{
            name: {"seed": device.seed.hex(), "device_id": device.device_id.hex(), **consumed(name)}
            for name, device in devices.items()
        },
        "hello": run.hello.hex(),
        "offer": run.offer.hex(),
        "prove": run.prove.hex(),
        "accept": run.accept.hex(),
        "sid": run.initiator.sid.hex(),
        "key_initiator_to_responder": run.initiator.send_key.hex(),
        "key_responder_to_initiator": run.initiator.recv_key.hex(),
    }


@pytest.fixture(scope="module")
def handshake() -> dict:
    return json.loads((ROOT / "tests/vectors/handshake.json").read_text())


def test_handshake_vector(handshake: dict) -> None:
    assert handshake_vector() == handshake


def test_the_specification_quotes_the_handshake_vector(handshake: dict) -> None:
    text = specification()
    for name in (
        "hello",
        "offer",
        "prove",
        "accept",
        "sid",
        "key_initiator_to_responder",
        "key_responder_to_initiator",
    ):
        assert handshake[name] in text, name
    for name in ("network_key", "tag", "check_value"):
        assert handshake["secret"][name] in text, name
    for end in ("initiator", "responder"):
        for name in ("seed", "device_id", "nonce", "scalar", "iv"):
            assert handshake[end][name] in text, (end, name)
    assert handshake["invite"]["text"] in text


def test_handshake_vector_reckoned_from_the_specification(handshake: dict) -> None:
    """docs/protocol.md followed word by word, with hashlib, hmac, msgpack, stock Fernet and spake2 only."""

    def lp(*parts: bytes) -> bytes:
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)

    def expand(key: bytes, label: bytes, size: int = 32) -> bytes:
        return hmac.digest(key, label + b"\x01", "sha512")[:size]

    octets = {name: bytes.fromhex(handshake[name]) for name in ("hello", "offer", "prove", "accept", "sid")}
    network_key = bytes.fromhex(handshake["secret"]["network_key"])
    nonce, scalar = (bytes.fromhex(handshake["initiator"][name]) for name in ("nonce", "scalar"))

    body = msgpack.unpackb(octets["hello"][3 : 3 + int.from_bytes(octets["hello"][1:3], "big")])
    context = lp(b"example", b"\x00\x02")
    pake = SPAKE2_A(
        expand(network_key, b"p2pd/1 pake"),
        idA=lp(b"p2pd/1 initiator", context),
        idB=lp(b"p2pd/1 responder", context),
        entropy_f=lambda size: scalar,
    )
    assert body == [[1], [1], bytes.fromhex(handshake["secret"]["tag"]), 0, nonce, 2, pake.start()[1:]]
    assert not any(octets["hello"][3 + int.from_bytes(octets["hello"][1:3], "big") :])
    choice, _, element = msgpack.unpackb(octets["offer"][1:])
    assert choice == [1, 1]
    shared = pake.finish(b"B" + element)

    first = hashlib.sha512(lp(octets["hello"], octets["offer"])).digest()
    second = hashlib.sha512(lp(first, octets["prove"])).digest()
    third = hashlib.sha512(lp(second, octets["accept"])).digest()
    root = hmac.digest(first, shared, "sha512")
    for frame, role, transcript in (("prove", b"initiator", first), ("accept", b"responder", second)):
        key = expand(root, b"p2pd/1 handshake key " + role)
        plain = Fernet(urlsafe_b64encode(key)).decrypt(urlsafe_b64encode(octets[frame][1:]))
        assert octets[frame][2:10] == bytes(8), "time 0"
        confirmation, public, signature, info = msgpack.unpackb(plain)
        assert confirmation == expand(root, lp(b"p2pd/1 confirmation " + role, transcript))
        assert hashlib.sha256(public).hexdigest()[:40] == handshake[role.decode()]["device_id"]
        signed = lp(b"p2pd/1 signature " + role, transcript, public)
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
        assert info == [f"p2pd/test {role.decode()}", 8001 if role == b"initiator" else 8002, 0]
    main = hmac.digest(third, expand(root, b"p2pd/1 main", 64), "sha512")
    assert expand(main, b"p2pd/1 sid", 8) == octets["sid"]
    for label, name in (
        (b"initiator to responder", "key_initiator_to_responder"),
        (b"responder to initiator", "key_responder_to_initiator"),
    ):
        assert expand(main, b"p2pd/1 record key " + label).hex() == handshake[name]


# -- session ----------------------------------------------------------------------------------------------


def session_vector() -> dict:
    """tests/vectors/session.json, made anew."""
    here, there = make_established("vector")
    a = Session(here, 0.0, UNIX_TIME, Seeded("vector iv initiator"))
    b = Session(there, 0.0, UNIX_TIME, Seeded("vector iv responder"))
    header, payload = encode([18, 7, "name"]), b"sixteen octets.."
    steps = [
        ("initiator", "message", header, b"", a.seal(header, now=0.0)),
        ("responder", "message", header, payload, b.seal(header, payload, now=0.0)),
        ("initiator", "ping", encode([3, 0]), b"", a.seal_ping(0.0)),
        ("responder", "pong", encode([4, 0]), b"", b.seal_pong(0, 0.0)),
        ("initiator", "keyupdate", encode([1]), b"", a.seal_rekey(0.0)),
        ("initiator", "message", header, payload, a.seal(header, payload, now=0.0)),
        ("responder", "close", encode([2, 9]), b"", b.seal_close(9, 0.0)),
    ]
    return {
        "sid": here.sid.hex(),
        "key_initiator_to_responder": here.send_key.hex(),
        "key_responder_to_initiator": here.recv_key.hex(),
        "key_initiator_to_responder_after_keyupdate": expand(here.send_key, b"p2pd/1 rekey").hex(),
        "unix_time": UNIX_TIME,
        "records": [
            {"from": end, "kind": kind, "header": head.hex(), "payload": data.hex(), "record": record.hex()}
            for end, kind, head, data, record in steps
        ],
    }


@pytest.fixture(scope="module")
def session() -> dict:
    return json.loads((ROOT / "tests/vectors/session.json").read_text())


def test_session_vector(session: dict) -> None:
    assert session_vector() == session


def test_session_vector_opens(session: dict) -> None:
    here, there = make_established("vector")
    ends = {"responder": Session(here, 0.0, 0, Seeded("x")), "initiator": Session(there, 0.0, 0, Seeded("x"))}
    ends["responder"].seal_ping(0.0)
    expected = {"ping": Pinged(0), "pong": Ponged(0), "keyupdate": KeyUpdated(), "close": Closed(9)}
    for step in session["records"]:
        event = receive(ends[step["from"]], bytes.fromhex(step["record"]))
        if step["kind"] == "message":
            assert isinstance(event, Opened)
            assert (event.header.hex(), event.payload.hex()) == (step["header"], step["payload"])
        else:
            assert event == expected[step["kind"]]


def test_the_specification_quotes_the_session_vector(session: dict) -> None:
    text = specification()
    for name, value in session.items():
        if name != "records":
            assert str(value) in text, name
    for step in session["records"]:
        assert step["record"] in text, step["kind"]
        assert step["header"] in text, step["kind"]
