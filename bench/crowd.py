"""Many devices with real sessions in one process: plain sockets that speak ZMTP, the handshake and the session of protocol/.

The rule: what goes over the wire is what a daemon would send; only the machinery behind it is lighter, so that thousands fit one process.
Used by bench/devices.py. Source: ZMTP 3.1 (ZeroMQ RFC 37), docs/protocol.md.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import common  # noqa: F401  (sets the path)

from protocol.codec import encode
from protocol.frames import ACCEPT, OFFER, RECORD, REFUSE, Info
from protocol.handshake import Dialect, Initiator
from protocol.keys import DeviceKey, NetworkSecret
from protocol.session import Opened, Pinged, Session
from protocol.tracker import AnyReply, AnyRequest, decode_reply

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
PING, PONG = b"\x04PING", b"\x04PONG"
COMMAND, LONG = 4, 2


@dataclass(eq=False)
class Device:
    """One connection. `state`: connecting, greeting, hello, prove, open, closed."""

    number: int
    key: DeviceKey
    initiator: Initiator
    raw: socket.socket
    began: float
    state: str = "connecting"
    session: Session | None = None
    buffer: bytearray = field(default_factory=bytearray)
    waiting: deque[tuple[float, Callable[[float, AnyReply], object]]] = field(default_factory=deque)
    requests: int = 0
    opened_after: float = 0.0
    trouble: str = ""


class Crowd:
    """Devices that connect, ask and are answered, on one selector. `turn(seconds)` does what there is to do."""

    def __init__(self, port: int, secret: NetworkSecret) -> None:
        self.devices: list[Device] = []
        self.lost = 0  # of them, closed
        self.on_open: Callable[[Device], object] = lambda device: None
        self._port = port
        self._secret = secret
        self._selector = selectors.DefaultSelector()
        self._plain = memoryview(bytearray(1 << 20))
        self._unix = time.time()

    # -- what a device does -------------------------------------------------------------------------------

    def join(self, number: int, address: str) -> Device:
        """Begins to connect from a loopback address of its own."""
        raw = socket.socket()
        raw.setblocking(False)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        raw.bind((address, 0))
        raw.connect_ex(("127.0.0.1", self._port))
        key = DeviceKey.generate(os.urandom(32))
        info = Info("bench/1", listen_port=8001)
        initiator = Initiator(self._secret, key, info, Dialect.TRACKER, os.urandom)
        device = Device(number, key, initiator, raw, time.perf_counter())
        self.devices.append(device)
        self._selector.register(raw, selectors.EVENT_READ | selectors.EVENT_WRITE, device)
        return device

    def ask(self, device: Device, request: AnyRequest, then: Callable[[float, AnyReply], object]) -> None:
        """Sends a request; `then(seconds, reply)` when it is answered. Answers come in order."""
        assert device.session is not None
        now = time.perf_counter()
        device.waiting.append((now, then))
        self._record(device, device.session.seal(encode(request), now=now))

    def turn(self, seconds: float) -> None:
        """Waits for at most so long, and does what came."""
        for key, events in self._selector.select(max(0.0, seconds)):
            device: Device = key.data
            if events & selectors.EVENT_WRITE and device.state == "connecting":
                self._selector.modify(device.raw, selectors.EVENT_READ, device)
                device.state = "greeting"
                self._send(device, GREETING + b"\x04" + bytes([len(READY)]) + READY)
            if events & selectors.EVENT_READ:
                self._readable(device)

    def close(self) -> None:
        """Ends all."""
        for device in self.devices:
            device.raw.close()
        self._selector.close()

    # -- octets -------------------------------------------------------------------------------------------

    def _send(self, device: Device, data: bytes) -> None:
        try:
            sent = device.raw.send(data)
        except OSError as error:
            self._end(device, str(error))
            return
        assert sent == len(data), "the kernel's buffer is full"

    def _frame(self, device: Device, frame: bytes) -> None:
        size = len(frame)
        head = bytes([0, size]) if size < 256 else bytes([LONG]) + size.to_bytes(8, "big")
        self._send(device, head + frame)

    _record = _frame

    def _readable(self, device: Device) -> None:
        try:
            data = device.raw.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(device, str(error))
            return
        if not data:
            self._end(device, "closed by the tracker")
            return
        buffer = device.buffer
        buffer += data
        if device.state == "greeting" and len(buffer) >= 64:
            del buffer[:64]
            device.state = "ready"
        while device.state not in ("greeting", "closed") and len(buffer) >= 2:
            flags = buffer[0]
            head, size = (9, int.from_bytes(buffer[1:9], "big")) if flags & LONG else (2, buffer[1])
            if len(buffer) < head + size or (flags & LONG and len(buffer) < 9):
                return
            body = bytes(buffer[head : head + size])
            del buffer[: head + size]
            self._command(device, body) if flags & COMMAND else self._message(device, body)

    def _command(self, device: Device, body: bytes) -> None:
        if body.startswith(PING):
            pong = PONG + body[len(PING) + 2 :]
            self._send(device, bytes([COMMAND, len(pong)]) + pong)
        elif device.state == "ready":
            device.state = "hello"
            self._frame(device, device.initiator.hello())

    def _message(self, device: Device, frame: bytes) -> None:
        now = time.perf_counter()
        kind = frame[0]
        if kind == OFFER and device.state == "hello":
            device.state = "prove"
            self._frame(device, device.initiator.receive_offer(frame))
        elif kind == ACCEPT and device.state == "prove":
            established = device.initiator.receive_accept(frame)
            device.session = Session(established, now, self._unix, os.urandom)
            device.state = "open"
            device.opened_after = now - device.began
            self.on_open(device)
        elif kind == RECORD and device.session is not None:
            event: Any = device.session.open_into(frame, self._plain, now)
            if isinstance(event, Opened):
                asked, then = device.waiting.popleft()
                then(now - asked, decode_reply(event.header))
            elif isinstance(event, Pinged):
                self._record(device, device.session.seal_pong(event.number, now))
        elif kind == REFUSE:
            self._end(device, f"refused {frame[1:].hex()}")

    def _end(self, device: Device, trouble: str) -> None:
        if device.state != "closed":
            device.state, device.trouble, device.session = "closed", trouble, None
            self.lost += 1
            self._selector.unregister(device.raw)
            device.raw.close()
