"""p2pd/net/router.py: whoever has no session gets nothing, whoever breaks a rule loses his, and nobody blocks anybody."""

from __future__ import annotations

import pytest
import zmq

from p2pd.net.admission import AdmissionLimits
from protocol import limits
from protocol.errors import Refusal
from protocol.frames import HELLO, PROVE, RECORD, Dialect, make_refuse, parse_refuse
from protocol.peer import Available, Interest
from tests.fakes.pair import make_device, make_initiator, make_secret
from tests.fakes.reactors import HOST, Net, Recorder, half_open, until

ID = bytes(32)


# -- handshakes -------------------------------------------------------------------------------------------


def test_a_member_gets_a_session_and_answers(net: Net, handler: Recorder, port: int) -> None:
    stranger = net.stranger(port)
    session = stranger.shake_hands("alice")
    assert session.device_id == make_device("uploader").device_id
    conn = handler.openings.get()
    assert conn.device_id == make_device("alice").device_id
    assert (conn.host, conn.closed, conn.blocked) == (HOST, False, False)
    assert str(conn).startswith(f"{HOST}/")
    for number in (1, 2):
        stranger.send(stranger.seal(Interest(number, ID)))
        assert stranger.reply() == (Available(number, True), b"")
    counts = net.admission.counts()
    assert (counts["half_open"], counts["unauthenticated"], counts["known_addresses"]) == (0, 0, 1)


def test_a_wrong_password_is_refused_counted_and_then_banned(net: Net, handler: Recorder, port: int) -> None:
    wrong = make_secret(bytes(32))
    retries = []
    for _ in range(limits.FAILED_PROOFS_PER_MINUTE):
        stranger = net.stranger(port)
        initiator = make_initiator("mallory", wrong)
        stranger.send(initiator.hello())
        stranger.send(initiator.receive_offer(stranger.receive()))
        code, retry = parse_refuse(stranger.receive())
        assert code == Refusal.BAD_PROOF
        retries.append(retry)
    assert retries == [0, 0, int(limits.BAN_SECONDS_FIRST)]
    assert half_open(net) == 0
    assert net.admission.banned(HOST, net.clock()) > 0
    # From now on nothing is tried, whatever he has: he is told for how long, a few times a second, then not even that.
    late = net.stranger(port)
    late.send(make_initiator("alice").hello())
    code, retry = parse_refuse(late.receive())
    assert code == Refusal.BANNED
    assert 0 < retry <= limits.BAN_SECONDS_FIRST + 1
    while net.admission.allow_connection(HOST, net.clock()):
        pass
    later = net.stranger(port, immediate=1, reconnect_ivl=-1)
    monitor = later.socket.get_monitor_socket(
        zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    )
    assert monitor.poll(10_000)
    later.socket.disable_monitor()
    monitor.close(linger=0)
    assert not handler.openings.items
    net.advance(limits.BAN_SECONDS_FIRST + 1)
    net.stranger(port).shake_hands("alice")


def test_another_network_and_another_role_are_told_so(net: Net, handler: Recorder, port: int) -> None:
    elsewhere = net.stranger(port)
    elsewhere.send(make_initiator("a", make_secret(network="another")).hello())
    assert parse_refuse(elsewhere.receive())[0] == Refusal.UNKNOWN_NETWORK
    tracker = net.stranger(port)
    tracker.send(make_initiator("a", dialect=Dialect.TRACKER).hello())
    assert parse_refuse(tracker.receive())[0] == Refusal.WRONG_ROLE
    assert half_open(net) == 0
    assert not handler.openings.items


@pytest.mark.parametrize(
    "hello", [bytes((HELLO,)), bytes((HELLO,)) * 256, bytes((HELLO, 255, 255)).ljust(256, b"\0")]
)
def test_a_malformed_hello_is_refused(net: Net, handler: Recorder, port: int, hello: bytes) -> None:
    stranger = net.stranger(port)
    stranger.send(hello)
    assert parse_refuse(stranger.receive())[0] == Refusal.BAD_REQUEST
    assert half_open(net) == 0


def test_a_malformed_prove_is_refused(net: Net, handler: Recorder, port: int) -> None:
    stranger = net.stranger(port)
    stranger.send(make_initiator().hello())
    stranger.receive()
    stranger.send(bytes((PROVE,)) * 2000)
    assert parse_refuse(stranger.receive())[0] == Refusal.BAD_REQUEST
    assert half_open(net) == 0


def test_our_own_device_is_not_a_peer(net: Net, handler: Recorder, port: int) -> None:
    stranger = net.stranger(port)
    initiator = make_initiator("uploader")
    stranger.send(initiator.hello())
    stranger.send(initiator.receive_offer(stranger.receive()))
    assert parse_refuse(stranger.receive())[0] == Refusal.BAD_REQUEST
    assert net.admission.banned(HOST, net.clock()) == 0
    assert half_open(net) == 0


def test_too_many_hellos_are_refused_for_a_time(handler: Recorder) -> None:
    with Net(AdmissionLimits(hello_burst=1, hellos_per_second_per_address=0.01)) as net:
        port = net.listen(handler).port
        net.stranger(port).shake_hands()
        stranger = net.stranger(port)
        stranger.send(make_initiator().hello())
        code, retry = parse_refuse(stranger.receive())
        assert code == Refusal.BUSY
        assert 90 <= retry <= 101


@pytest.mark.parametrize(
    "frames",
    [
        (b"",),
        (b"\x00",),
        (bytes((PROVE,)) * 100,),
        (b"\x02" * 100,),
        (make_refuse(Refusal.BUSY),),
        (b"\xff" * 60_000,),
        (b"", b"\x01" * 256),
        (b"\x01" * 256, b"\x01" * 256, b"\x01" * 256),
    ],
    ids=["empty", "zero", "prove", "offer", "refuse", "long", "two parts", "three parts"],
)
def test_frames_that_make_no_sense_get_no_answer(
    net: Net, handler: Recorder, port: int, frames: tuple[bytes, ...]
) -> None:
    stranger = net.stranger(port)
    stranger.send(*frames)
    net.stranger(port).shake_hands("somebody else")
    if len(frames[-1]) < limits.UNAUTHENTICATED_OCTETS:
        assert stranger.hears_nothing()
    assert half_open(net) == 0


def test_a_message_over_the_limit_ends_the_connection(net: Net, handler: Recorder, port: int) -> None:
    stranger = net.stranger(port)
    stranger.shake_hands()
    handler.openings.get()
    stranger.send(bytes(limits.MAX_LISTENER_FRAME + 1))
    handler.closings.get()


def test_a_record_without_a_session_is_told_so(net: Net, handler: Recorder, port: int) -> None:
    stranger = net.stranger(port)
    stranger.send(bytes((RECORD,)) * 100)
    assert parse_refuse(stranger.receive())[0] == Refusal.NO_SESSION


def test_a_second_hello_or_a_frame_out_of_turn_ends_a_handshake(
    net: Net, handler: Recorder, port: int
) -> None:
    for frame in (make_initiator().hello(), bytes((RECORD,)) * 100, b"\x77"):
        stranger = net.stranger(port)
        initiator = make_initiator()
        stranger.send(initiator.hello())
        offer = stranger.receive()
        assert half_open(net) == 1
        stranger.send(frame)
        until(lambda: half_open(net) == 0)
        stranger.send(initiator.receive_offer(offer))
    assert stranger.hears_nothing()
    assert not handler.openings.items


def test_a_handshake_that_stops_is_given_up(net: Net, handler: Recorder, port: int) -> None:
    stranger = net.stranger(port)
    initiator = make_initiator()
    stranger.send(initiator.hello())
    offer = stranger.receive()
    net.advance(limits.HANDSHAKE_SECONDS + 0.5)
    until(lambda: half_open(net) == 0)
    stranger.send(initiator.receive_offer(offer))
    assert stranger.hears_nothing()
    assert not net.routers[0].conns


def test_whoever_leaves_in_the_middle_of_a_handshake_leaves_nothing(
    net: Net, handler: Recorder, port: int
) -> None:
    stranger = net.stranger(port)
    stranger.send(make_initiator().hello())
    stranger.receive()
    stranger.socket.close(linger=0)
    until(lambda: half_open(net) == 0 and net.admission.counts()["connections"] == 0)
    assert not net.routers[0].conns


def test_whoever_leaves_before_accept_was_never_there(net: Net, handler: Recorder, port: int) -> None:
    stranger = net.stranger(port)
    initiator = make_initiator()
    stranger.send(initiator.hello())
    prove = initiator.receive_offer(stranger.receive())
    router = net.routers[0]
    (conn,) = router.conns.values()
    # The monitor's word may come late: then the send of ACCEPT is what fails.
    net.on(net.listening, router._by_descriptor.clear)
    real = router._raw_send
    router._raw_send = lambda rid, frame: False  # type: ignore[method-assign]
    stranger.send(prove)
    until(lambda: conn.closed)
    router._raw_send = real  # type: ignore[method-assign]
    net.on(net.listening, lambda: None)
    assert (handler.openings.items, handler.closings.items) == ([], [])
    assert half_open(net) == 0
