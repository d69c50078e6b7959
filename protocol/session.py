"""A session:

sealed records in order between two devices, after the handshake. Octets in, events out, no waiting.

    RECORD 10 | sid(8) | raw Fernet token of: seq(8) | header length(2) | header | payload

The rules: a key for each direction; each record exactly the next one; whatever does not fit kills the
session for good. Nothing is copied on the way: header and payload of an opened record are views into the
caller's buffer, and a payload is sealed from where it lies. Headers are msgpack arrays `[tag, ...]`; tags 1
to 15 are the session's own (KEYUPDATE, CLOSE, PING, PONG), tags from 16 belong to the dialect.
Specification: docs/protocol.md, "Records" and "Sessions".

This module knows no sockets, no clock (`now` is an argument, seconds of any monotonic clock) and no
dialect. A session belongs to one thread at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TypeAlias

import msgspec

from protocol.codec import encode
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.fernet import IV_SIZE, PLAIN_AT, Octets, Opening, Sealing, TokenKey, open_all
from protocol.frames import RECORD
from protocol.handshake import Established
from protocol.keys import expand
from protocol.limits import (
    DEAD_SECONDS,
    MAX_DIALER_FRAME,
    MAX_HEADER,
    MAX_LISTENER_FRAME,
    PING_SECONDS,
    REKEY_OCTETS,
    REKEY_RECORDS,
    REKEY_SECONDS,
    REKEY_SLACK,
)
from protocol.pake import Entropy
from protocol.records import (
    FIRST_DIALECT_TAG,
    PLAIN_HEAD,
    RECORD_HEAD,
    check_header,
    message_tag,
    record_size,
)
from protocol.session_control import Close, Control, KeyUpdate, Ping, Pong, control_messages

_MAX_RECORDS = int(REKEY_RECORDS * (1 + REKEY_SLACK))
_MAX_OCTETS = int(REKEY_OCTETS * (1 + REKEY_SLACK))
_MAX_SECONDS = REKEY_SECONDS * (1 + REKEY_SLACK)


# -- events -----------------------------------------------------------------------------------------------


class Opened(msgspec.Struct, frozen=True):
    """A message of the dialect. Both are views into the buffer given to `open_into`."""

    header: memoryview
    payload: memoryview


class Closed(msgspec.Struct, frozen=True):
    """The other end closed the session; `reason` is 0 or one of Refusal (or a later version's)."""

    reason: int


class Pinged(msgspec.Struct, frozen=True):
    """The other end asks whether we are there: answer with `seal_pong(number, now)`."""

    number: int


class Ponged(msgspec.Struct, frozen=True):
    """Our PING `number` (and all before it) arrived."""

    number: int


class KeyUpdated(msgspec.Struct, frozen=True):
    """The other end goes on under its next key. Nothing to do."""


Event: TypeAlias = Opened | Closed | Pinged | Ponged | KeyUpdated


# -- the session ------------------------------------------------------------------------------------------


Ahead: TypeAlias = tuple[TokenKey, memoryview]
"""Under which key a record was opened before its turn, and what it holds."""


class State(Enum):
    """Where a session is. Only an open one seals and opens; there is no way back to it."""

    OPEN = "open"
    CLOSED = "closed"
    BROKEN = "broken"


class _Direction:
    """One key and its use."""

    __slots__ = ("_key", "octets", "records", "seq", "since", "token_key")

    def __init__(self, key: bytes) -> None:
        self.seq = 0
        self._set(key)

    def _set(self, key: bytes) -> None:
        self._key = key
        self.token_key = TokenKey(key)
        self.records = 0
        self.octets = 0
        self.since = 0.0  # time of the first record under this key

    def ratchet(self) -> None:
        """Go on to the next key; the sequence goes on too."""
        self._set(expand(self._key, b"p2pd/1 rekey"))

    @property
    def worn(self) -> bool:
        """True when only KEYUPDATE and CLOSE may follow under this key."""
        return self.records >= _MAX_RECORDS or self.octets >= _MAX_OCTETS

    def count(self, octets: int, now: float) -> None:
        """Take note of a record."""
        if not self.records:
            self.since = now
        self.seq += 1
        self.records += 1
        self.octets += octets


class Session:
    """One end of a session.

    `established` is the outcome of the handshake, `now` the present time in seconds of a monotonic clock,
    `unix_time` goes into the tokens as a constant (receivers ignore it), `entropy` is os.urandom.
    """

    __slots__ = (
        "_entropy",
        "_head",
        "_last_ping",
        "_max_received",
        "_max_sent",
        "_pings",
        "_pongs",
        "_recv",
        "_send",
        "_time",
        "device_id",
        "dialect",
        "info",
        "initiator",
        "last_received",
        "sid",
        "state",
    )

    def __init__(self, established: Established, now: float, unix_time: float, entropy: Entropy) -> None:
        self.state = State.OPEN
        self.sid = established.sid
        self.device_id = established.device_id
        self.info = established.info
        self.initiator = established.initiator
        self.dialect = established.dialect
        self.last_received = now
        self._head = bytes((RECORD,)) + established.sid
        self._time = int(unix_time)
        # Bulk flows to the end that dialled; a listener takes small records only.
        self._max_sent = MAX_LISTENER_FRAME if established.initiator else MAX_DIALER_FRAME
        self._max_received = MAX_DIALER_FRAME if established.initiator else MAX_LISTENER_FRAME
        self._entropy = entropy
        self._send = _Direction(established.send_key)
        self._recv = _Direction(established.recv_key)
        self._last_ping = now
        self._pings = 0
        self._pongs = 0

    # -- sealing ------------------------------------------------------------------------------------------

    def seal_into(self, out: memoryview, header: bytes, payload: Octets, now: float) -> int:
        """Seal a message of the dialect into the beginning of `out`; answers the octets of the record.

        `header` is an encoded message with a tag from 16, `payload` any octets (not copied, must not
        overlap `out`). `out` needs `record_size(len(header), len(payload))` octets. Raises
        LocalProtocolError when the session is not open, the record would be too long for the other end
        (MAX_LISTENER_FRAME if it listens, else MAX_DIALER_FRAME), `out` is too small, or a rekey is
        overdue; nothing is then sealed.
        """
        check_header(header)
        self._check_rekeyed(now)
        return self._seal_into(out, header, payload, now)

    def seal(self, header: bytes, payload: Octets = b"", *, now: float) -> bytes:
        """As `seal_into`, in octets of its own. For small messages."""
        out = bytearray(record_size(len(header), len(payload)))
        self.seal_into(memoryview(out), header, payload, now)
        return bytes(out)

    def lay(self, out: memoryview, header: bytes, payload: int, now: float) -> Sealing:
        """The record of a message whose `payload` octets lie in `out` at `payload_at(len(header))`, to be sealed where it lies.

        It counts as sent from now on: `seal_all` it, and send it before any other record of this session that is made later. Arguments
        and errors as `seal_into`; the record is the first `record_size` octets of `out`.
        """
        check_header(header)
        self._check_rekeyed(now)
        size = self._check_size(header, payload)
        if len(out) < size:
            raise LocalProtocolError("no room for the record")
        send = self._send
        token = out[RECORD_HEAD:size]
        send.token_key.lay_head(token, self._entropy(IV_SIZE), self._time)
        prefix = self._prefix(header)
        token[PLAIN_AT : PLAIN_AT + len(prefix)] = prefix
        out[:RECORD_HEAD] = self._head
        sealing = Sealing(send.token_key, token, len(prefix) + payload)
        send.count(len(token), now)
        return sealing

    def seal_rekey(self, now: float) -> bytes:
        """A KEYUPDATE record, the last under the present key of this direction."""
        record = self._seal_control(KeyUpdate(), now)
        self._send.ratchet()
        return record

    def seal_close(self, reason: int, now: float) -> bytes:
        """A CLOSE record with `reason` (0:

        no more to say, else one of Refusal). The session is over with it.
        """
        record = self._seal_control(Close(reason), now)
        self.state = State.CLOSED
        return record

    def seal_ping(self, now: float) -> bytes:
        """A PING record; numbers count from 0."""
        self._check_rekeyed(now)
        record = self._seal_control(Ping(self._pings), now)
        self._pings += 1
        self._last_ping = now
        return record

    def seal_pong(self, number: int, now: float) -> bytes:
        """The answer to `Pinged(number)`."""
        self._check_rekeyed(now)
        return self._seal_control(Pong(number), now)

    def _check_rekeyed(self, now: float) -> None:
        send = self._send
        if send.worn or (send.records > 0 and now - send.since >= _MAX_SECONDS):
            raise LocalProtocolError("rekey overdue")

    def _seal_control(self, message: Control, now: float) -> bytes:
        header = encode(message)
        out = bytearray(record_size(len(header), 0))
        self._seal_into(memoryview(out), header, b"", now)
        return bytes(out)

    def _seal_into(self, out: memoryview, header: bytes, payload: Octets, now: float) -> int:
        self._check_size(header, len(payload))
        send = self._send
        token = send.token_key.seal_parts(
            out[RECORD_HEAD:], (self._prefix(header), payload), self._entropy(IV_SIZE), self._time
        )
        out[:RECORD_HEAD] = self._head
        send.count(token, now)
        return RECORD_HEAD + token

    def _check_size(self, header: bytes, payload: int) -> int:
        """The size of the record. Raises LocalProtocolError when there can be none."""
        if self.state is not State.OPEN:
            raise LocalProtocolError(f"the session is {self.state.value}")
        size = record_size(len(header), payload)
        if len(header) > MAX_HEADER or size > self._max_sent:
            raise LocalProtocolError("record too long")
        return size

    def _prefix(self, header: bytes) -> bytes:
        return self._send.seq.to_bytes(8, "big") + len(header).to_bytes(2, "big") + header

    # -- opening ------------------------------------------------------------------------------------------

    def ahead(self, records: Sequence[tuple[Octets, memoryview]]) -> list[Ahead | None]:
        """Opens the next records, each into its own `out` (as in `open_into`), before it is their turn: several at a time are quicker.

        Says nothing of them yet and changes nothing: each is given to `open_into` with what this answers for it, in order. None for what
        `open_into` has to look at itself.
        """
        key = self._recv.token_key
        views = [memoryview(record) for record, _ in records]
        plains = open_all(
            [Opening(key, view[RECORD_HEAD:], out) for view, (_, out) in zip(views, records, strict=True)]
        )
        return [None if plain is None else (key, plain) for plain in plains]

    def open_into(self, record: Octets, out: memoryview, now: float, ahead: Ahead | None = None) -> Event:
        """What a record says. `out` needs `room_to_open_record(len(record))` octets and must not overlap it.

        `ahead` is what the method of that name answered for this record and `out`.

        Raises AuthenticationError or RemoteProtocolError for a record that is not the next one of this
        session, and the session is broken from then on. Raises LocalProtocolError when the session is not
        open or `out` is too small.
        """
        if self.state is not State.OPEN:
            raise LocalProtocolError(f"the session is {self.state.value}")
        try:
            return self._open_into(record, out, now, ahead)
        except RemoteProtocolError:
            self.state = State.BROKEN
            raise

    def _open_into(self, record: Octets, out: memoryview, now: float, ahead: Ahead | None) -> Event:
        view = memoryview(record)
        if len(view) > self._max_received or view[:RECORD_HEAD] != self._head:
            raise RemoteProtocolError("not a record of this session")
        recv = self._recv
        known = ahead is not None and ahead[0] is recv.token_key
        plain = ahead[1] if ahead and known else recv.token_key.open_into(view[RECORD_HEAD:], out)
        if len(plain) < PLAIN_HEAD or int.from_bytes(plain[:8], "big") != recv.seq:
            raise RemoteProtocolError("record out of order")
        end = PLAIN_HEAD + int.from_bytes(plain[8:PLAIN_HEAD], "big")
        if end > len(plain):
            raise RemoteProtocolError("header longer than its record")
        header = plain[PLAIN_HEAD:end]
        event: Event
        if message_tag(header) >= FIRST_DIALECT_TAG:
            event = Opened(header, plain[end:])
        elif len(plain) != end:
            raise RemoteProtocolError("a control message has no payload")
        else:
            event = self._control_event(control_messages.decode(header))
        if recv.worn and not isinstance(event, KeyUpdated | Closed):
            raise RemoteProtocolError("the other end does not rekey")
        recv.count(len(view) - RECORD_HEAD, now)
        self.last_received = now
        if isinstance(event, KeyUpdated):
            recv.ratchet()
        elif isinstance(event, Closed):
            self.state = State.CLOSED
        return event

    def _control_event(self, message: Control) -> Event:
        match message:
            case KeyUpdate():
                return KeyUpdated()
            case Close(reason=reason):
                return Closed(reason)
            case Ping(number=number):
                return Pinged(number)
            case Pong(number=number):
                if not self._pongs <= number < self._pings:
                    raise RemoteProtocolError("a PONG without its PING")
                self._pongs = number + 1
                return Ponged(number)

    # -- deadlines ----------------------------------------------------------------------------------------

    def rekey_due(self, now: float) -> bool:
        """True when `seal_rekey` should come next."""
        send = self._send
        return self.state is State.OPEN and (
            send.records >= REKEY_RECORDS
            or send.octets >= REKEY_OCTETS
            or (send.records > 0 and now - send.since >= REKEY_SECONDS)
        )

    def ping_due(self, now: float) -> bool:
        """True when the other end has been silent for PING_SECONDS and no PING went out in that time."""
        return self.state is State.OPEN and now - max(self.last_received, self._last_ping) >= PING_SECONDS

    def dead(self, now: float) -> bool:
        """True when the session is over, or the other end has been silent for DEAD_SECONDS."""
        return self.state is not State.OPEN or now - self.last_received >= DEAD_SECONDS
