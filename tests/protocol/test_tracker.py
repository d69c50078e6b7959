"""The tracker dialect's grammar: what decodes, what does not, and how changes are cut into messages."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import encode
from protocol.errors import RemoteProtocolError
from protocol.limits import MAX_CONTROL_MESSAGE, MAX_FILE, MAX_HEADER, MAX_PUBLISH_ENTRIES, MAX_REPLY
from protocol.tracker import (
    NO_EPOCH,
    Announce,
    Announced,
    AnyReply,
    AnyRequest,
    By,
    Bye,
    Entry,
    Fetching,
    Find,
    Gone,
    Hit,
    Hits,
    Member,
    Ok,
    PeerList,
    Peers,
    Publish,
    Published,
    Refused,
    Search,
    SearchTerms,
    Sort,
    Source,
    Sources,
    Stats,
    TrackerStats,
    decode_reply,
    decode_request,
    pack_entries,
    publishes,
)

EPOCH = b"epoch--1"
ID, SHA, DEVICE = b"c" * 32, b"s" * 32, b"d" * 20
ENTRY = Entry(ID, SHA, 5, "dir/file.txt", 1_700_000_000)
GONE = Gone(ID, "dir/file.txt")

REQUESTS: list[AnyRequest] = [
    Announce(1, EPOCH, 7, 8001, "192.168.1.2"),
    Announce(1, EPOCH, 0, 0),
    Publish(2**32 - 1, EPOCH, 0, 9, True, False, [ENTRY], []),
    Publish(3, EPOCH, 9, 10, False, False, [], [GONE]),
    Search(4, By.TEXT, "été", "mp4", 1, 2, Sort.AGE, 5, "abc"),
    Search(4, By.ALL),
    SearchTerms(4, By.TEXT, "x", phrases=["annual report"], without=["draft"], without_phrases=["a b"]),
    SearchTerms(4, By.ALL, limit=500),
    Find(5, ID),
    Peers(6),
    Peers(6, ID, "00"),
    Bye(7),
    Fetching(8, []),
    Fetching(8, [ID, SHA]),
    Stats(8),
]
REPLIES: list[AnyReply] = [
    Announced(1, 900, 300, NO_EPOCH, 0, "10.0.0.1", 3, 4),
    Published(2, 9),
    Hits(3, [Hit(ID, SHA, 5, ["a", "b/c"], 2, 9)], "next"),
    Hits(3, [], ""),
    Sources(4, [Source(DEVICE, "10.0.0.1", 1024)]),
    PeerList(5, [Member(DEVICE, "", 0, 7), Member(DEVICE, "::1", 8001, 0)], ""),
    Refused(6, 3, 5, "busy"),
    Ok(7),
    TrackerStats(8, 1, 2, 3, 4, 5, 6),
]


@pytest.mark.parametrize("message", REQUESTS, ids=lambda m: type(m).__name__)
def test_requests_come_back(message: AnyRequest) -> None:
    assert decode_request(encode(message)) == message
    assert decode_request(memoryview(encode(message))) == message
    with pytest.raises(RemoteProtocolError):
        decode_reply(encode(message))


@pytest.mark.parametrize("message", REPLIES, ids=lambda m: type(m).__name__)
def test_replies_come_back(message: AnyReply) -> None:
    assert decode_reply(encode(message)) == message
    with pytest.raises(RemoteProtocolError):
        decode_request(encode(message))


def test_the_octets_of_an_announce() -> None:
    """A golden vector of docs/protocol.md, "Tracker dialect"."""
    message = Announce(1, EPOCH, 7, 8001, "10.0.0.1")
    assert encode(message).hex() == "961001c40865706f63682d2d3107cd1f41a831302e302e302e31"


def test_tags_are_unique_and_above_those_of_sessions() -> None:
    tags = [msgpack.unpackb(encode(message))[0] for message in REQUESTS + REPLIES]
    kinds = [type(message) for message in REQUESTS + REPLIES]
    assert len(set(zip(tags, kinds, strict=True))) == len(set(tags)) == 17
    assert min(tags) >= 16


ENTRY_FIELDS: list[object] = [ID, SHA, 5, "a", 1]


def spoiled_entry(index: int, value: object) -> list[object]:
    fields = list(ENTRY_FIELDS)
    fields[index] = value
    return [17, 1, EPOCH, 0, 1, True, False, [fields], []]


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [15],
        [23, 1],
        ["Announce", 1],
        [16],
        [16, -1, EPOCH, 0, 8001, ""],
        [16, 2**32, EPOCH, 0, 8001, ""],
        [16, 1.0, EPOCH, 0, 8001, ""],
        [16, True, EPOCH, 0, 8001, ""],
        [16, 1, EPOCH[:7], 0, 8001, ""],
        [16, 1, NO_EPOCH, 0, 8001, ""],
        [16, 1, EPOCH, 2**53, 8001, ""],
        [16, 1, EPOCH, 0, 80, ""],
        [16, 1, EPOCH, 0, 1023, ""],
        [16, 1, EPOCH, 0, 65_536, ""],
        [16, 1, EPOCH, 0, 8001, "x" * 46],
        [16, 1, EPOCH, 0, 8001, "", 0],
        [16, 1, EPOCH, 0, 8001, None],
        [17, 1, NO_EPOCH, 0, 1, True, False, [], []],
        [17, 1, EPOCH, 0, 1, 1, False, [], []],
        [17, 1, EPOCH, 0, 1, True, False, [], [[ID, "../x"]]],
        [17, 1, EPOCH, 0, 1, True, False, [], [[ID, "a", 1]]],
        [17, 1, EPOCH, 0, 1, True, False, [ENTRY_FIELDS] * (MAX_PUBLISH_ENTRIES + 1), []],
        spoiled_entry(0, b"c" * 31),
        spoiled_entry(1, b"c" * 33),
        spoiled_entry(2, -1),
        spoiled_entry(2, MAX_FILE + 1),
        spoiled_entry(3, ""),
        spoiled_entry(3, "/etc/passwd"),
        spoiled_entry(3, "a/../b"),
        spoiled_entry(3, "a\x00b"),
        spoiled_entry(3, "a\u202eb"),
        spoiled_entry(3, "e\u0301"),
        spoiled_entry(3, "é" * 600),
        spoiled_entry(3, b"a"),
        spoiled_entry(4, -1),
        spoiled_entry(4, 2**40 + 1),
        [18, 1, 5],
        [18, 1, "text"],
        [18, 1, 0, "x" * 1025],
        [18, 1, 0, "x", "e" * 33],
        [18, 1, 0, "x", "", 0, 0, 9],
        [18, 1, 0, "x", "", 0, 0, 0, 0],
        [18, 1, 0, "x", "", 0, 0, 0, 501],
        [18, 1, 0, "x", "", 0, 0, 0, 1, "", []],
        [24, 1, 0, "x", "", 0, 0, 0, 1, "", ["a"] * 9],
        [24, 1, 0, "x", "", 0, 0, 0, 1, "", [""]],
        [24, 1, 0, "x", "", 0, 0, 0, 1, "", ["a" * 129]],
        [24, 1, 0, "x", "", 0, 0, 0, 1, "", [b"a"]],
        [18, 1, 0, "x", "", 0, 0, 0, 1, "c" * 2049],
        [19, 1, b""],
        [20, 1, b"c" * 31],
        [20, 1, b"c" * 33],
        [21],
        {"type": 21, "req": 1},
        None,
        1,
    ],
)
def test_requests_that_break_the_grammar(fields: object) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_request(msgpack.packb(fields))


@pytest.mark.parametrize(
    "fields",
    [
        [31, 1],
        [40, 1],
        [34, 1, [[ID, SHA, 5, [], 1, 1]], ""],
        [34, 1, [[ID, SHA, 5, ["a"] * 17, 1, 1]], ""],
        [34, 1, [[ID, SHA, 5, ["a", "../b"], 1, 1]], ""],
        [34, 1, [[ID, SHA, 5, ["a"], 10_001, 1]], ""],
        [34, 1, [[ID, SHA, 5, ["a"], 1, 1]] * 501, ""],
        [35, 1, [[DEVICE, "10.0.0.1", 1023]]],
        [35, 1, [[DEVICE, "10.0.0.1", 0]]],
        [35, 1, [[DEVICE, "10.0.0.1", 8001]] * 51],
        [35, 1, [[DEVICE[:19], "10.0.0.1", 8001]]],
        [35, 1, [[DEVICE, "h" * 46, 8001]]],
        [36, 1, [[DEVICE, "", 1, 0]], ""],
        [36, 1, [[DEVICE, "", 0, 0]] * 51, ""],
        [37, 1, 0, 0, ""],
        [37, 1, 256, 0, ""],
        [37, 1, 3, 86_401, ""],
        [37, 1, 3, 0, "x" * 129],
        [32, 1, 86_401, 300, NO_EPOCH, 0, "", 0, 0],
    ],
)
def test_replies_that_break_the_grammar(fields: object) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_reply(msgpack.packb(fields))


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    for decode in (decode_request, decode_reply):
        try:
            message = decode(data)
        except RemoteProtocolError:
            continue
        assert type(message) in {type(known) for known in REQUESTS + REPLIES}


@given(st.sampled_from(REQUESTS), st.data())
def test_a_changed_octet_is_refused_or_a_message(message: AnyRequest, data: st.DataObject) -> None:
    octets = bytearray(encode(message))
    octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_request(bytes(octets))
    except RemoteProtocolError:
        pass


def test_length_is_checked_first() -> None:
    with pytest.raises(RemoteProtocolError, match="too long"):
        decode_request(bytes(MAX_CONTROL_MESSAGE + 1))
    with pytest.raises(RemoteProtocolError, match="too long"):
        decode_reply(bytes(MAX_REPLY + 1))


# -- cutting changes into messages ----------------------------------------------------------------------------


def long_entry(number: int) -> Entry:
    return Entry(number.to_bytes(32, "big"), SHA, MAX_FILE, "/".join(["n" * 250] * 4), 2**40)


def test_batches_are_full_by_number_or_by_size() -> None:
    short = [ENTRY] * (2 * MAX_PUBLISH_ENTRIES + 1)
    assert [len(batch) for batch in pack_entries(short)] == [MAX_PUBLISH_ENTRIES, MAX_PUBLISH_ENTRIES, 1]
    long = [long_entry(number) for number in range(100)]
    batches = list(pack_entries(long))
    assert [item for batch in batches for item in batch] == long
    for batch in batches:
        message = Publish(2**32 - 1, EPOCH, 2**53 - 1, 2**53 - 1, True, True, batch, [])
        assert batch is batches[-1] or len(encode(message)) > 0.9 * MAX_CONTROL_MESSAGE
        assert len(encode(message)) <= MAX_CONTROL_MESSAGE <= MAX_HEADER
        assert decode_request(encode(message)) == message
    assert list(pack_entries([])) == []


def test_batches_are_made_lazily() -> None:
    def endless() -> object:
        while True:
            yield ENTRY

    assert len(next(pack_entries(endless()))) == MAX_PUBLISH_ENTRIES  # type: ignore[arg-type]


def changes(first: int, last: int) -> list[tuple[int, Entry | Gone]]:
    """One change a revision; every third one is a removal."""
    return [(n, GONE if n % 3 == 0 else long_entry(n)) for n in range(first, last + 1)]


@pytest.mark.parametrize("reset", [False, True])
def test_messages_follow_each_other(reset: bool) -> None:
    base = 0 if reset else 40
    messages = list(publishes(EPOCH, base, 200, changes(base + 1, 230), reset))
    assert len(messages) > 3
    reached = base
    for index, message in enumerate(messages):
        last = index == len(messages) - 1
        assert decode_request(encode(message)) == message
        assert message.base_revision == reached < message.revision
        assert (message.reset, message.more) == (reset, reset and not last)
        assert not (reset and message.removed)
        reached = message.revision
    assert reached == 200
    added = [item for message in messages for item in message.added]
    assert added == [item for revision, item in changes(base + 1, 200) if isinstance(item, Entry)]
    removed = [item for message in messages for item in message.removed]
    assert len(removed) == (0 if reset else 53)


def test_what_comes_after_the_target_waits() -> None:
    """A listing that counted a later revision in would lose a removal made while it was sent."""
    [message] = publishes(EPOCH, 0, 2, [(1, ENTRY), (5, ENTRY)], reset=True)
    assert (message.revision, message.more, message.added) == (2, False, [ENTRY])


def test_nothing_to_say() -> None:
    assert list(publishes(EPOCH, 4, 4, [])) == []
    assert list(publishes(EPOCH, 4, 6, [])) == [Publish(0, EPOCH, 4, 6, False, False, [], [])]
    assert list(publishes(EPOCH, 0, 0, [], reset=True)) == [Publish(0, EPOCH, 0, 0, True, False, [], [])]
    assert list(publishes(EPOCH, 0, 3, [(3, GONE)], reset=True)) == [
        Publish(0, EPOCH, 0, 3, True, False, [], [])
    ]
