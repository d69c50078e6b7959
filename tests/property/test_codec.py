"""Messages of both dialects: what is encoded comes back the same, and no octets whatever do anything but decode or be refused."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import peer, tracker
from protocol.codec import encode, numbered
from protocol.errors import RemoteProtocolError
from protocol.limits import MAX_BLOCK, MAX_CONTROL_MESSAGE, MAX_FILE, MAX_MANIFEST, MAX_PIECES

REQ = st.integers(0, 2**32 - 1)
ID = st.binary(min_size=32, max_size=32)

PEER_REQUESTS = st.one_of(
    st.builds(peer.Interest, REQ, ID),
    st.builds(peer.GetManifest, REQ, ID, st.integers(0, MAX_MANIFEST)),
    st.builds(
        peer.GetBlock,
        REQ,
        ID,
        st.integers(0, MAX_PIECES - 1),
        st.integers(0, MAX_FILE - 1),
        st.integers(1, MAX_BLOCK),
    ),
    st.builds(peer.Cancel, REQ, ID),
)
PEER_REPLIES = st.one_of(
    st.builds(peer.Available, REQ, st.booleans()),
    st.builds(peer.ManifestPart, REQ, st.integers(1, MAX_MANIFEST)),
    st.builds(peer.Block, REQ),
    st.builds(peer.Done, REQ),
    st.builds(peer.Refused, REQ, st.integers(1, 255), st.integers(0, 3600)),
    st.builds(peer.Have, ID, st.lists(st.integers(0, MAX_PIECES - 1), min_size=1, max_size=50)),
)
NAME = st.from_regex(r"[a-z]{1,20}\.[a-z]{1,4}", fullmatch=True).filter(
    lambda name: name.split(".")[0] not in ("con", "prn", "aux", "nul")
)
ENTRY = st.builds(tracker.Entry, ID, ID, st.integers(0, MAX_FILE), NAME, st.integers(0, 2**40))
EPOCH = st.binary(min_size=8, max_size=8).filter(any)
TRACKER_REQUESTS = st.one_of(
    st.builds(
        tracker.Announce,
        REQ,
        EPOCH,
        st.integers(0, 2**53 - 1),
        st.integers(1024, 65_535),
        st.sampled_from(["", "10.0.0.1"]),
    ),
    st.builds(
        tracker.Publish,
        REQ,
        EPOCH,
        st.integers(0, 100),
        st.integers(0, 100),
        st.booleans(),
        st.booleans(),
        st.lists(ENTRY, max_size=5),
        st.lists(st.builds(tracker.Gone, ID, NAME), max_size=5),
    ),
    st.builds(tracker.Search, REQ, st.sampled_from(list(tracker.By)), st.text(max_size=100)),
    st.builds(tracker.Find, REQ, ID),
    st.builds(tracker.Bye, REQ),
    st.builds(tracker.Stats, REQ),
)
DECODERS = (peer.decode_request, peer.decode_reply, tracker.decode_request, tracker.decode_reply)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def decoded_or_refused(data: bytes) -> None:
    for decode in DECODERS:
        try:
            message: Any = decode(data)
        except RemoteProtocolError:
            continue
        assert decode(encode(message)) == message


@given(PEER_REQUESTS)
def test_peer_requests_come_back(message: peer.Request) -> None:
    assert peer.decode_request(encode(message)) == message


@given(PEER_REPLIES)
def test_peer_replies_come_back(message: peer.Reply) -> None:
    assert peer.decode_reply(encode(message)) == message


@given(TRACKER_REQUESTS)
def test_tracker_requests_come_back(message: tracker.AnyRequest) -> None:
    assert tracker.decode_request(encode(message)) == message


@given(PEER_REQUESTS, REQ)
def test_a_number_changes_nothing_else(message: peer.Request, req: int) -> None:
    again = numbered(message, req)
    assert again.req == req
    assert numbered(again, message.req) == message


@given(st.binary(max_size=200))
def test_any_octets_decode_or_are_refused(data: bytes) -> None:
    decoded_or_refused(data)


@given(st.integers(0, 50), st.lists(VALUES, max_size=9))
def test_any_msgpack_decodes_or_is_refused(tag: int, fields: list[Any]) -> None:
    decoded_or_refused(msgpack.packb([tag, *fields]))


@given(PEER_REQUESTS | PEER_REPLIES | TRACKER_REQUESTS, st.data())
def test_a_flipped_or_cut_message_decodes_or_is_refused(message: Any, data: st.DataObject) -> None:
    octets = bytearray(encode(message))
    at = data.draw(st.integers(0, len(octets) - 1))
    octets[at] ^= data.draw(st.integers(1, 255))
    decoded_or_refused(bytes(octets))
    decoded_or_refused(bytes(octets[:at]))


@given(st.integers(MAX_CONTROL_MESSAGE + 1, MAX_CONTROL_MESSAGE + 99))
def test_a_long_message_is_refused_unread(size: int) -> None:
    for decode in (peer.decode_request, tracker.decode_request):
        with pytest.raises(RemoteProtocolError, match="too long"):
            decode(bytes(size))
