"""The PAKE: equal keys for equal secrets, different ones for anything else."""

from __future__ import annotations

import pytest

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.pake import MESSAGE_SIZE, Pake
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
