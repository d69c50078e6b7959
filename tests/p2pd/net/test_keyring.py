"""p2pd/net/keyring.py: which key comes first, when the older one stops, and that there is no way back."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from p2pd.net.keyring import KEPT, Keyring, Ring, fingerprint
from protocol.errors import RemoteProtocolError
from tests.fakes.pair import make_secret

OLD = make_secret(epoch=0)
NEW = make_secret(b"n" * 32, epoch=1)
ALICE, BOB, CAROL = (bytes([n]) * 20 for n in range(3))
HOST = "10.0.0.1"


@dataclass
class Time:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def keys(time: Time) -> Keyring:
    """In the middle of a rotation."""
    return Keyring(Ring(OLD).rotated(NEW, 1000.0, 100.0), time)


# -- rings ------------------------------------------------------------------------------------------------


def test_a_rotation_ends_forward_or_back() -> None:
    ring = Ring(OLD).rotated(NEW, 5.0, 60.0)
    assert (ring.current, ring.previous, ring.began_at, ring.ends_at) == (NEW, OLD, 5.0, 65.0)
    assert ring.finished() == Ring(NEW, retired=((0, fingerprint(OLD)),))
    assert ring.aborted() == Ring(OLD, retired=((1, fingerprint(NEW)),))
    assert Ring(OLD).finished() == Ring(OLD).aborted() == Ring(OLD)
    assert Ring(OLD).rotated(NEW, 5.0, 0.0) == ring.finished()


def test_a_key_that_is_used_again_has_not_ended() -> None:
    back = Ring(OLD).rotated(NEW, 5.0, 60.0).aborted()
    assert back.rotated(NEW, 9.0, 60.0).retired == ()


def test_few_ended_keys_are_remembered_and_none_is_shown() -> None:
    ring = Ring(OLD)
    for epoch in range(1, 9):
        ring = ring.rotated(make_secret(bytes([epoch]) * 32, epoch=epoch), 0.0, 0.0)
    assert [epoch for epoch, _ in ring.retired] == list(range(8 - KEPT, 8))
    assert OLD.key.hex() not in repr(Ring(OLD).rotated(NEW, 0.0, 9.0)) + fingerprint(OLD)


# -- which key --------------------------------------------------------------------------------------------


def test_the_newer_comes_first_and_the_older_stops_by_itself(keys: Keyring, time: Time) -> None:
    assert keys.accepted() == keys.for_dialling(ALICE) == keys.for_dialling("h:1") == (NEW, OLD)
    time.now = 1099.9
    assert keys.holds(OLD)
    time.now = 1100.0
    assert keys.accepted() == keys.for_dialling(ALICE) == (NEW,)
    assert not keys.holds(OLD)
    assert not keys.admits(ALICE, OLD)


def test_a_clock_that_goes_back_brings_nothing_back(keys: Keyring, time: Time) -> None:
    time.now = 1100.0
    assert not keys.holds(OLD)
    time.now = 1.0
    assert not keys.holds(OLD)
    assert keys.now() == 1100.0


def test_whoever_has_proven_the_newer_is_not_taken_with_the_older(keys: Keyring) -> None:
    keys.met(ALICE, OLD, HOST)
    assert keys.admits(ALICE, OLD)
    keys.met(ALICE, NEW, HOST)
    assert not keys.admits(ALICE, OLD)
    assert keys.admits(ALICE, NEW)
    assert keys.for_dialling(ALICE) == (NEW,)
    assert keys.admits(BOB, OLD)
    assert keys.for_dialling(BOB) == (NEW, OLD)


def test_nor_is_an_address_that_has(keys: Keyring) -> None:
    keys.met(ALICE, OLD, HOST, "h:1")
    assert keys.for_dialling("h:1") == (NEW, OLD)
    keys.met(ALICE, NEW, HOST, "h:1")
    assert keys.for_dialling("h:1") == (NEW,)
    assert keys.for_dialling("h:2") == (NEW, OLD)


def test_a_key_of_nobody_is_no_key(keys: Keyring) -> None:
    other = make_secret(b"x" * 32, epoch=1)
    assert not keys.admits(ALICE, other)
    keys.met(ALICE, other, HOST)
    assert keys.sightings() == []


def test_there_is_one_key_only_outside_of_a_rotation(keys: Keyring) -> None:
    assert keys.only() is None
    ring = keys.ring.finished()
    keys.set(ring)
    assert keys.only() is ring.current


def test_outside_a_rotation_nothing_is_noted() -> None:
    keys = Keyring(OLD)
    keys.met(ALICE, OLD, HOST, "h:1")
    assert (keys.sightings(), keys.news, keys.current) == ([], 0, OLD)
    assert keys.accepted() == (OLD,)


# -- who uses which ---------------------------------------------------------------------------------------


def test_when_which_was_used(keys: Keyring, time: Time) -> None:
    keys.met(BOB, OLD, HOST)
    time.now = 1010.0
    keys.met(ALICE, OLD, HOST)
    keys.met(BOB, OLD, "10.0.0.2")
    time.now = 1020.0
    keys.met(ALICE, NEW, HOST)
    alice, bob = keys.sightings()
    assert (alice.device_id, alice.on_old, alice.old_at, alice.new_at) == (ALICE, False, 1010.0, 1020.0)
    assert (bob.on_old, bob.old_at, bob.new_at, bob.host) == (True, 1010.0, None, "10.0.0.2")


def test_only_what_is_new_is_news(keys: Keyring) -> None:
    keys.met(ALICE, OLD, HOST)
    keys.met(ALICE, OLD, HOST)
    assert keys.news == 1
    keys.met(ALICE, NEW, HOST)
    keys.met(ALICE, NEW, HOST)
    assert keys.news == 2


def test_holders_of_the_older_key_cannot_push_out_those_of_the_newer(time: Time) -> None:
    keys = Keyring(Ring(OLD).rotated(NEW, 1000.0, 100.0), time, max_devices=3)
    keys.met(ALICE, NEW, HOST)
    for number in range(10, 30):
        keys.met(bytes([number]) * 20, OLD, HOST)
    assert len(keys.sightings()) == 3
    assert not keys.admits(ALICE, OLD)


def test_another_rotation_begins_with_nothing(keys: Keyring) -> None:
    keys.met(ALICE, NEW, HOST, "h:1")
    keys.set(keys.ring.finished())
    assert (keys.sightings(), keys.accepted()) == ([], (NEW,))
    keys.set(keys.ring.rotated(make_secret(b"3" * 32, epoch=2), 1000.0, 100.0))
    assert keys.admits(ALICE, NEW)
    assert len(keys.for_dialling("h:1")) == 2


# -- over restarts ----------------------------------------------------------------------------------------


def test_what_was_seen_survives(keys: Keyring, time: Time) -> None:
    keys.met(ALICE, NEW, HOST, "h:1")
    keys.met(BOB, OLD, HOST)
    again = Keyring(keys.ring, time)
    again.load(json.loads(json.dumps(keys.dump())))
    assert again.sightings() == keys.sightings()
    assert not again.admits(ALICE, OLD)
    assert again.for_dialling("h:1") == (NEW,)


def test_what_was_seen_in_another_rotation_does_not(keys: Keyring, time: Time) -> None:
    keys.met(ALICE, NEW, HOST)
    other = Keyring(Ring(OLD).rotated(make_secret(b"x" * 32, epoch=1), 1000.0, 100.0), time)
    other.load(keys.dump())
    assert other.sightings() == []


@pytest.mark.parametrize("devices", [[["zz", HOST, None, None]], [[1]], 5, [["a" * 32, HOST, "x", None]]])
def test_damage_is_told(keys: Keyring, devices: object) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError, RemoteProtocolError)):
        keys.load({**keys.dump(), "devices": devices})
    assert keys.sightings() == []
