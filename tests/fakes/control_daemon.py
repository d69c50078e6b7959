"""A daemon for the client's tests: a ROUTER in a thread that answers by a given function.

The rule: it speaks the real dialect (protocol/control.py) over a real ipc socket and knows no method itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import zmq

from protocol.control import (
    BadRequest,
    Request,
    decode_request,
    encode_error,
    encode_progress,
    encode_reply,
    endpoint,
)
from protocol.errors import Fault

Send = Callable[[dict[str, Any]], None]
Answer = Callable[[Request, Send], dict[str, Any] | None]


class ControlDaemon:
    """`answer(request, send_progress)` returns the result, raises a Fault, or returns None to never answer.

    Use as a context manager. `requests` holds what came, in order; `wait_for` blocks until something did
    and its answer is on the way.
    """

    def __init__(self, path: str, answer: Answer) -> None:
        self.path = path
        self.requests: list[Request] = []
        self._answer = answer
        self._answered: list[Request] = []
        self._arrived = threading.Condition()
        self._context: zmq.Context[Any] = zmq.Context()
        self._router: zmq.Socket[Any] = zmq.Socket(self._context, zmq.ROUTER)
        self._router.setsockopt(zmq.LINGER, 1000)
        self._router.bind(endpoint(path))
        self._stop: zmq.Socket[Any] = zmq.Socket(self._context, zmq.PAIR)
        self._stop.bind("inproc://stop")
        self._thread = threading.Thread(target=self._run, name="control-daemon")

    def __enter__(self) -> ControlDaemon:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.send(b"")
        self._thread.join()
        self._stop.close()
        self._context.term()

    def wait_for(self, method: str, seconds: float = 20.0) -> Request:
        """The first request of `method`, once it is here and answered (or its answerer gave up)."""

        def found() -> Request | None:
            return next((request for request in self._answered if request.method == method), None)

        with self._arrived:
            request = self._arrived.wait_for(found, seconds)
        assert request is not None, f"no {method} came within {seconds} s"
        return request

    def _run(self) -> None:
        stop: zmq.Socket[Any] = zmq.Socket(self._context, zmq.PAIR)
        stop.connect("inproc://stop")
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(stop, zmq.POLLIN)
        while stop not in dict(poller.poll()):
            self._serve(*self._router.recv_multipart())
        stop.close()
        self._router.close()

    def _serve(self, peer: bytes, data: bytes) -> None:
        try:
            request = decode_request(data)
        except BadRequest as fault:
            self._router.send_multipart([peer, encode_error(fault.id, fault)])
            return

        def send(event: dict[str, Any]) -> None:
            self._router.send_multipart([peer, encode_progress(request.id, event)])

        self.requests.append(request)
        try:
            result = self._answer(request, send)
            if result is not None:
                self._router.send_multipart([peer, encode_reply(request.id, result)])
        except Fault as fault:
            self._router.send_multipart([peer, encode_error(request.id, fault)])
        with self._arrived:
            self._answered.append(request)
            self._arrived.notify_all()
