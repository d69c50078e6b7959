"""Attackers who hold the wire: what they repeat, reorder, alter, cut or mix is never accepted."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.codec import encode
from protocol.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from protocol.frames import Hello, Offer, make_hello, make_offer, parse_hello, parse_offer
from protocol.handshake import Established
from protocol.session import Opened, Session, State
from tests.fakes.pair import (
    Run,
    make_device,
    make_initiator,
    make_pair,
    make_responder,
    make_secret,
    receive,
    run_handshake,
)

QUICK = settings(
    max_examples=300,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
SLOW = settings(QUICK, max_examples=200)  # a handshake costs some 25 ms

HEADER = encode([16, "header"])
RECORDS = 6


# -- sessions ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wire:
    """What an attacker has recorded: true records of two sessions between the same two devices."""

    forth: list[bytes]
    back: list[bytes]
    other_forth: list[bytes]
    other_back: list[bytes]

    @property
    def all(self) -> list[bytes]:
        return self.forth + self.back + self.other_forth + self.other_back


def recorded() -> Wire:
    def records(session: Session, name: str) -> list[bytes]:
        return [
            session.seal(HEADER, f"{name} {number}".encode() * (1 + number), now=0.0)
            for number in range(RECORDS)
        ]

    pair, other = make_pair(), make_pair("other")
    return Wire(records(pair.a, "a"), records(pair.b, "b"), records(other.a, "oa"), records(other.b, "ob"))


WIRE = recorded()

indexes = st.integers(0, len(WIRE.all) - 1)


@st.composite
def deliveries(draw: st.DrawFn) -> bytes:
    """One frame that an attacker delivers: a true one of anywhere, or one made of true ones."""
    record = WIRE.all[draw(indexes)]
    match draw(st.sampled_from(("as it is", "bit", "cut", "grown", "splice", "relabel", "noise"))):
        case "bit":
            bit = draw(st.integers(0, len(record) * 8 - 1))
            return record[: bit // 8] + bytes([record[bit // 8] ^ 1 << bit % 8]) + record[bit // 8 + 1 :]
        case "cut":
            return record[: draw(st.integers(0, len(record) - 1))]
        case "grown":
            return record + draw(st.binary(min_size=1, max_size=40))
        case "splice":
            other, at = WIRE.all[draw(indexes)], draw(st.integers(0, len(record)))
            return record[:at] + other[at:]
        case "relabel":
            return record[:1] + WIRE.forth[0][1:9] + record[9:]
        case "noise":
            return draw(st.binary(max_size=300))
    return record


@QUICK
@given(st.integers(0, RECORDS), st.lists(deliveries(), min_size=1, max_size=4))
def test_only_the_next_true_record_is_ever_accepted(honest: int, attack: list[bytes]) -> None:
    session = make_pair().b
    for record in WIRE.forth[:honest]:
        assert isinstance(receive(session, record), Opened)
    expected = WIRE.forth[honest:]
    for frame in attack:
        if session.state is State.OPEN and expected and frame == expected[0]:
            assert isinstance(receive(session, frame), Opened)
            del expected[0]
            continue
        with pytest.raises(ProtocolError) as raised:
            receive(session, frame)
        assert session.state is State.BROKEN
        assert isinstance(raised.value, RemoteProtocolError | LocalProtocolError)
    if session.state is State.BROKEN and expected:
        with pytest.raises(LocalProtocolError):
            receive(session, expected[0])


@QUICK
@given(st.permutations(range(RECORDS)))
def test_no_order_but_the_true_one(order: list[int]) -> None:
    session = make_pair().b
    accepted = 0
    try:
        for at in order:
            receive(session, WIRE.forth[at])
            accepted += 1
    except RemoteProtocolError:
        pass
    true_prefix = next((n for n, at in enumerate(order) if n != at), RECORDS)
    assert accepted == true_prefix


@QUICK
@given(st.integers(0, RECORDS - 1), st.integers(0, RECORDS - 1), st.integers(0, 400))
def test_reflection_and_splicing_across_directions(ours: int, theirs: int, at: int) -> None:
    mine, back = WIRE.forth[ours], WIRE.back[theirs]
    for frame in (mine, back[:at] + mine[at:], mine[:9] + back[9:at] + mine[max(at, 9) :]):
        if frame == WIRE.back[0]:
            continue
        session = make_pair().a
        with pytest.raises(RemoteProtocolError):
            receive(session, frame)


@QUICK
@given(st.integers(0, 2), st.integers(0, 2), st.data())
def test_nothing_under_an_old_key_after_a_rekey(before: int, after: int, data: st.DataObject) -> None:
    pair = make_pair()
    old = [pair.a.seal(HEADER, now=0.0) for _ in range(before)]
    update = pair.a.seal_rekey(0.0)
    new = [pair.a.seal(HEADER, now=0.0) for _ in range(after)]
    for record in [*old, update, *new]:
        receive(pair.b, record)
    with pytest.raises(RemoteProtocolError):
        receive(pair.b, data.draw(st.sampled_from([*old, update, *new])))


@QUICK
@given(st.integers(0, RECORDS))
def test_after_close_nothing(honest: int) -> None:
    pair = make_pair()
    for record in WIRE.forth[:honest]:
        receive(pair.b, record)
        pair.a.seal(HEADER, now=0.0)
    receive(pair.b, pair.a.seal_close(0, 0.0))
    for frame in WIRE.all:
        with pytest.raises(LocalProtocolError):
            receive(pair.b, frame)


# -- handshakes -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run() -> Run:
    return run_handshake(make_initiator(), make_responder())


FRAMES = ("hello", "offer", "prove", "accept")


def attacked(change: dict[str, object]) -> tuple[Established | None, Established | None]:
    """What each end holds after a run in which the frames named in `change` were altered on the way."""
    initiator, responder = make_initiator(), make_responder()
    here = there = None

    def altered(name: str, frame: bytes) -> bytes:
        alter = change.get(name)
        return alter(frame) if callable(alter) else frame

    try:
        offer = responder.receive_hello(altered("hello", initiator.hello()))
        prove = initiator.receive_offer(altered("offer", offer))
        accept, there = responder.receive_prove(altered("prove", prove))
        here = initiator.receive_accept(altered("accept", accept))
    except RemoteProtocolError:
        pass
    return here, there


def flip(position: float, bit: int) -> object:
    def alter(frame: bytes) -> bytes:
        at = int(position * len(frame))
        return frame[:at] + bytes([frame[at] ^ 1 << bit]) + frame[at + 1 :]

    return alter


positions = st.floats(0, 1, exclude_max=True, width=32)


@SLOW
@given(st.sampled_from(FRAMES), positions, st.integers(0, 7))
def test_one_flipped_bit_anywhere_never_leaves_two_sessions(name: str, position: float, bit: int) -> None:
    here, there = attacked({name: flip(position, bit)})
    assert here is None, "the initiator never has a session"
    if name != "accept":
        assert there is None


@settings(SLOW, max_examples=40)
@given(st.sampled_from(FRAMES), positions)
def test_a_cut_frame_never_leaves_a_session(name: str, position: float) -> None:
    here, _ = attacked({name: lambda frame: frame[: int(position * len(frame))]})
    assert here is None


@settings(SLOW, max_examples=20)
@given(st.sampled_from(FRAMES), st.sampled_from(FRAMES))
def test_a_frame_of_another_run_is_refused(run: Run, name: str, source: str) -> None:
    foreign = run_handshake(make_initiator("x"), make_responder("y"))
    here, there = attacked({name: lambda frame: getattr(foreign, source)})
    assert here is None
    assert there is None or name == "accept"


@settings(SLOW, max_examples=20)
@given(st.binary(min_size=32, max_size=32), st.booleans())
def test_a_wrong_key_at_one_end_is_refused(key: bytes, at_initiator: bool) -> None:
    wrong = make_secret(key=key)
    initiator = make_initiator(secret=wrong if at_initiator else None)
    responder = make_responder(secret=None if at_initiator else wrong)
    with pytest.raises(RemoteProtocolError):
        run_handshake(initiator, responder)


def test_echoed_hello_and_offer_are_refused(run: Run) -> None:
    initiator = make_initiator()
    hello = initiator.hello()
    with pytest.raises(RemoteProtocolError):
        initiator.receive_offer(hello)
    # An echo in the shape of an OFFER, with the initiator's own nonce and element.
    initiator = make_initiator()
    _, body = parse_hello(initiator.hello())
    with pytest.raises(RemoteProtocolError):
        initiator.receive_offer(make_offer(Offer((1, 1), body.nonce, body.element)))
    responder = make_responder()
    offer = responder.receive_hello(run.hello)
    with pytest.raises(RemoteProtocolError):
        responder.receive_prove(offer)


def test_echoed_prove_is_no_accept() -> None:
    initiator, responder = make_initiator(), make_responder()
    prove = initiator.receive_offer(responder.receive_hello(initiator.hello()))
    with pytest.raises(RemoteProtocolError):
        initiator.receive_accept(b"\x04" + prove[1:])


@settings(SLOW, max_examples=10)
@given(st.sampled_from(("one", "two")))
def test_self_connection_is_refused(name: str) -> None:
    device = make_device(name)
    with pytest.raises(RemoteProtocolError):
        run_handshake(make_initiator(device=device), make_responder(device=device))


numbers = st.lists(st.integers(0, 255), min_size=1, max_size=16)


@settings(SLOW, max_examples=40)
@given(numbers, numbers)
def test_edited_version_and_suite_lists_are_refused(versions: list[int], suites: list[int]) -> None:
    def edit(frame: bytes) -> bytes:
        _, hello = parse_hello(frame)
        return make_hello(
            Hello(versions, suites, hello.tag, hello.epoch, hello.nonce, hello.dialect, hello.element)
        )

    if (versions, suites) != ([1], [1]):
        assert attacked({"hello": edit}) == (None, None)


@settings(SLOW, max_examples=30)
@given(st.tuples(st.integers(0, 255), st.integers(0, 255)))
def test_an_edited_choice_is_refused(choice: tuple[int, int]) -> None:
    def edit(frame: bytes) -> bytes:
        _, offer = parse_offer(frame)
        return make_offer(Offer(choice, offer.nonce, offer.element))

    if choice != (1, 1):
        assert attacked({"offer": edit}) == (None, None)


@QUICK
@given(st.binary(max_size=300), st.sampled_from((b"", b"\x01", b"\x02", b"\x03", b"\x04", b"\x05")))
def test_noise_is_refused_by_every_parser(run: Run, noise: bytes, kind: bytes) -> None:
    frame = kind + noise
    for receive_frame in (make_responder().receive_hello, parse_hello, parse_offer):
        with pytest.raises(RemoteProtocolError):
            receive_frame(frame)
