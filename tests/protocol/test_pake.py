"""The PAKE: equal keys for equal secrets, different ones for anything else."""

from __future__ import annotations

import hmac
import random

import pytest
from spake2 import SPAKE2_A, SPAKE2_B
from spake2.ed25519_basic import (
    Base,
    ElementOfUnknownGroup,
    L,
    arbitrary_element,
    decodepoint,
    xform_affine_to_extended,
)

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.keys import expand, lp
from protocol.pake import MESSAGE_SIZE, M, N, Pake
from tests.fakes.pair import Seeded

KEY = bytes(range(32))
CONTEXT = b"context"


def ends(
    key_a: bytes = KEY, key_b: bytes = KEY, context_a: bytes = CONTEXT, context_b: bytes = CONTEXT
) -> list[Pake]:
    return [Pake(True, key_a, context_a, Seeded("a")), Pake(False, key_b, context_b, Seeded("b"))]


def test_both_ends_find_the_same_key() -> None:
    a, b = ends()
    assert len(a.message) == len(b.message) == MESSAGE_SIZE
    key = a.finish(b.message)
    assert key == b.finish(a.message)
    assert len(key) == 32


@pytest.mark.parametrize("different", [{"key_b": bytes(32)}, {"context_b": b"another"}])
def test_different_secrets_or_contexts_give_different_keys(different: dict[str, bytes]) -> None:
    a, b = ends(**different)
    assert a.finish(b.message) != b.finish(a.message)


def test_each_run_has_its_own_message_and_key() -> None:
    one, two = Pake(True, KEY, CONTEXT, Seeded("a")), Pake(True, KEY, CONTEXT, Seeded("c"))
    b = Pake(False, KEY, CONTEXT, Seeded("b"))
    assert one.message != two.message
    assert one.finish(b.message) != two.finish(b.message)


def test_own_message_is_refused() -> None:
    a, _ = ends()
    with pytest.raises(RemoteProtocolError):
        a.finish(a.message)


def test_two_initiators_never_agree() -> None:
    a, c = Pake(True, KEY, CONTEXT, Seeded("a")), Pake(True, KEY, CONTEXT, Seeded("c"))
    assert a.finish(c.message) != c.finish(a.message)


@pytest.mark.parametrize(
    "element",
    [
        b"",
        bytes(31),
        bytes(33),
        bytes(32),  # order 4
        b"\x01" + bytes(31),  # the neutral element
        bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),  # order 2
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),  # order 8
        b"\x02" + bytes(31),  # not on the curve
        b"\xff" * 32,
    ],
)
def test_what_is_no_element_of_the_group_is_refused(element: bytes) -> None:
    a, _ = ends()
    with pytest.raises(RemoteProtocolError):
        a.finish(element)


def test_a_run_finishes_once() -> None:
    a, b = ends()
    a.finish(b.message)
    with pytest.raises(LocalProtocolError):
        a.finish(b.message)


def test_the_message_depends_on_the_entropy_of_the_caller_only() -> None:
    assert ends()[0].message == ends()[0].message


# -- against the package that the specification names -----------------------------------------------------


def of_the_package(initiator: bool, key: bytes, context: bytes, entropy: Seeded) -> SPAKE2_A | SPAKE2_B:
    kind = SPAKE2_A if initiator else SPAKE2_B
    ids = {"idA": lp(b"p2pd/1 initiator", context), "idB": lp(b"p2pd/1 responder", context)}
    return kind(expand(key, b"p2pd/1 pake"), **ids, entropy_f=entropy)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("initiator", [True, False])
def test_the_package_spake2_finds_the_same_messages_and_keys(initiator: bool, seed: int) -> None:
    key, context = random.Random(seed).randbytes(32), f"context {seed}".encode()
    ours = Pake(initiator, key, context, Seeded(f"one {seed}"))
    same = of_the_package(initiator, key, context, Seeded(f"one {seed}"))
    other = of_the_package(not initiator, key, context, Seeded(f"two {seed}"))
    sent, back = same.start(), other.start()
    assert ours.message == sent[1:]
    assert ours.finish(back[1:]) == other.finish(sent)


def test_the_two_points_are_hashed_from_their_names() -> None:
    assert [arbitrary_element(name).to_bytes() for name in (b"M", b"N")] == [M, N]


@pytest.mark.parametrize("order", [2, 4, 8])
def test_an_element_with_a_part_outside_the_subgroup_is_refused(order: int) -> None:
    eighth = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
    small = ElementOfUnknownGroup(xform_affine_to_extended(decodepoint(eighth))).scalarmult(8 // order)
    mixed = ElementOfUnknownGroup(Base.scalarmult(3).XYTZ).add(small).to_bytes()
    a, _ = ends()
    with pytest.raises(RemoteProtocolError):
        a.finish(mixed)


def test_the_blind_alone_is_refused() -> None:
    """Only a holder of the password can send it; the key would be one that all know."""
    w = int.from_bytes(hkdf_of(expand(KEY, b"p2pd/1 pake")), "big") % L
    a, _ = ends()
    with pytest.raises(RemoteProtocolError):
        a.finish(arbitrary_element(b"N").scalarmult(w).to_bytes())


def hkdf_of(password: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869) of a password for SPAKE2, 48 octets, by hand."""
    key = hmac.digest(bytes(32), password, "sha256")
    first = hmac.digest(key, b"SPAKE2 pw\x01", "sha256")
    return (first + hmac.digest(key, first + b"SPAKE2 pw\x02", "sha256"))[:48]


def test_what_is_secret_is_forgotten_when_the_run_ends() -> None:
    a, b = ends()
    a.finish(b.message)
    assert not {"_secret", "_unblind"} & set(vars(a))


def test_entropy_of_nothing_makes_no_element() -> None:
    with pytest.raises(LocalProtocolError):
        Pake(True, KEY, CONTEXT, bytes)
