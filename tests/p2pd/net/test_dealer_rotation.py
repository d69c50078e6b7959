"""p2pd/net/dealer.py and router.py in the middle of a rotation: which key is tried, taken, and how its sessions end."""

from __future__ import annotations

import pytest

from p2pd.net.dealer import LinkState
from p2pd.net.keyring import Keyring, Ring
from protocol.errors import Refusal
from protocol.frames import parse_refuse
from protocol.peer import Available, Interest
from tests.fakes.pair import make_device, make_initiator, make_secret
from tests.fakes.reactors import HOST, Net, Recorder, echo, half_open, until

OLD, NEW = make_secret(), make_secret(b"n" * 32, epoch=1)
STRANGE = make_secret(b"s" * 32, epoch=1)


class Time:
    """Unix seconds that stand still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def middle(time: Time) -> Keyring:
    """Both keys."""
    return Keyring(Ring(OLD).rotated(NEW, time.now, 100.0), time)


def test_the_newer_first_and_the_older_where_it_is_unknown(net: Net, time: Time) -> None:
    """An un-rotated listener counts no guess, however often members try the newer key first."""
    port = net.listen(Recorder(echo), secret=OLD).port
    mine = middle(time)
    for number in range(4):
        dialled = net.dial(port, f"d{number}", mine)
        assert dialled.ready.get().secret == OLD
        reply, _ = dialled.ask(Interest(0, bytes(32))).get()
        assert isinstance(reply, Available)
        dialled.close()
    assert net.admission.banned(HOST, net.clock()) == 0
    assert half_open(net) == 0
    (seen,) = mine.sightings()
    assert (seen.device_id, seen.on_old) == (make_device("uploader").device_id, True)


@pytest.mark.parametrize("expected", [None, make_device("uploader").device_id])
def test_both_in_the_middle_use_the_newer(net: Net, time: Time, expected: bytes | None) -> None:
    theirs = middle(time)
    port = net.listen(Recorder(), secret=theirs).port
    mine = middle(time)
    assert net.dial(port, secret=mine, expected=expected).ready.get().secret == NEW
    assert [seen.on_old for seen in theirs.sightings()] == [False]
    # no way back, whatever a listener says: the older key is not even tried
    name = expected or f"{HOST}:{port}"
    assert mine.for_dialling(name) == (NEW,)


def test_a_listener_in_the_middle_takes_who_has_not_begun(net: Net, time: Time) -> None:
    theirs = middle(time)
    port = net.listen(Recorder(), secret=theirs).port
    net.dial(port, "bob", OLD).ready.get()
    (seen,) = theirs.sightings()
    assert (seen.device_id, seen.host, seen.on_old) == (make_device("bob").device_id, HOST, True)


def test_another_key_of_the_same_epoch_is_a_wrong_password(net: Net, time: Time) -> None:
    port = net.listen(Recorder(), secret=middle(time)).port
    lost = net.dial(port, secret=STRANGE).closed.get()
    assert (lost.code, lost.refusal) == ("auth", Refusal.BAD_PROOF)


def test_whoever_is_known_in_neither_epoch_is_told_so_once(net: Net, time: Time) -> None:
    port = net.listen(Recorder(), secret=make_secret(epoch=7)).port
    dialled = net.dial(port, secret=middle(time))
    lost = dialled.closed.get()
    assert (lost.code, lost.refusal) == ("auth", Refusal.UNKNOWN_NETWORK)
    assert dialled.link.state is LinkState.CLOSED


def test_a_device_that_has_proven_the_newer_is_refused_with_the_older(net: Net, time: Time) -> None:
    theirs = middle(time)
    handler = Recorder()
    port = net.listen(handler, secret=theirs).port
    net.dial(port, "bob", NEW).ready.get()
    for _ in range(5):
        thief = net.stranger(port)
        initiator = make_initiator("bob", OLD)
        thief.send(initiator.hello())
        thief.send(initiator.receive_offer(thief.receive()))
        assert parse_refuse(thief.receive())[0] == Refusal.UNKNOWN_NETWORK
    assert net.admission.banned(HOST, net.clock()) == 0
    assert half_open(net) == 0
    assert len(handler.openings.items) == 1


def test_a_listener_that_has_proven_the_newer_is_not_believed_with_the_older(net: Net, time: Time) -> None:
    """Somebody with the older secret in the way, who makes us fall back, cannot pass for the device."""
    mine = middle(time)
    mine.met(make_device("uploader").device_id, NEW, HOST)
    port = net.listen(Recorder(), secret=OLD).port
    lost = net.dial(port, secret=mine).closed.get()  # by address: the device is known only at the end
    assert (lost.code, lost.refusal) == ("auth", Refusal.UNKNOWN_NETWORK)
    lost = net.dial(port, secret=mine, expected=make_device("uploader").device_id).closed.get()
    assert lost.code == "auth"


@pytest.mark.parametrize("which", ["time", "finish", "abort"])
def test_sessions_end_with_their_key_and_no_others(net: Net, time: Time, which: str) -> None:
    theirs, mine = middle(time), middle(time)
    handler = Recorder()
    port = net.listen(handler, secret=theirs).port
    old, new = net.dial(port, "old", OLD), net.dial(port, "new", NEW)
    old.ready.get()
    new.ready.get()
    # the dialling end ends them too
    far = net.dial(net.listen(Recorder(), "far", secret=OLD).port, secret=mine)
    far.ready.get()
    for keys in (theirs, mine):
        if which != "time":
            keys.set(keys.ring.finished() if which == "finish" else keys.ring.aborted())
    if which == "time":
        time.now += 100.0
    net.advance(2.0)
    gone, stays = (new, old) if which == "abort" else (old, new)
    gone.closed.get()
    assert stays.link.ready
    if which == "abort":
        assert far.link.ready
    else:
        assert far.closed.get().code == "lost"
    until(lambda: len(handler.closings.items) == 1)


def test_a_living_session_is_seen_again_and_again(net: Net, time: Time) -> None:
    theirs = middle(time)
    port = net.listen(Recorder(), secret=theirs).port
    net.dial(port, "bob", OLD).ready.get()
    time.now += 50.0
    net.advance(2.0)
    until(lambda: theirs.sightings()[0].old_at == 1050.0)
