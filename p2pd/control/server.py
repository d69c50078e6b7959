"""The control socket: requests of local clients to methods of the API, answers and progress back. On the event loop.

The rule: exactly one answer for each request whose id could be read, within its deadline; a client that went away
ends the wait and not the work. Who can open the socket is the user itself (directory 0700, socket 0600): that is the
whole authorisation.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio

from p2pd.net import options
from protocol import control
from protocol.errors import Fault, RemoteProtocolError

log = logging.getLogger("p2pd.control")

PROBE_SECONDS = 10.0
MAX_REQUESTS = 128  # under way at a time, of all clients

Progress = Callable[[Mapping[str, Any]], Awaitable[None]]
Method = Callable[[dict[str, Any], Progress], Awaitable[Mapping[str, Any]]]


class ControlServer:
    """Serves `methods` on an ipc socket. The caller holds the lock of the home: binding takes over what is at the path."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], path: Path, methods: Mapping[str, Method]
    ) -> None:
        self._context = zmq.asyncio.Context.shadow(context)
        self._path = path
        self._methods = methods
        self._socket: zmq.asyncio.Socket | None = None
        self._reader: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def bind(self) -> None:
        """Binds. Raises Fault when something else than a socket is at the path, or it cannot be bound there."""
        try:
            status = os.lstat(self._path)
        except FileNotFoundError:
            pass
        else:
            if not stat.S_ISSOCK(status.st_mode):
                raise Fault(
                    "usage",
                    f"{self._path} is in the way: it is not a socket",
                    "move it, or choose --socket PATH",
                )
        socket = self._context.socket(zmq.ROUTER)
        options.apply(socket, options.Kind.IPC)
        # The mode of the socket file comes from the umask of the moment it is bound.
        before = os.umask(0o177)
        try:
            socket.bind(control.endpoint(os.fspath(self._path)))
        except zmq.ZMQError as error:
            socket.close()
            raise Fault(
                "storage",
                f"cannot bind the control socket {self._path}: {error}",
                "choose another place with --socket PATH",
            ) from error
        finally:
            os.umask(before)
        self._socket = socket
        self._reader = asyncio.create_task(self._read(), name="control reader")

    async def answers(self, seconds: float = PROBE_SECONDS) -> None:
        """Returns when a client of the socket was answered. Raises Fault failure when it is not within `seconds`."""
        client = self._context.socket(zmq.DEALER)
        client.linger = 0
        try:
            client.connect(control.endpoint(os.fspath(self._path)))
            await client.send(control.encode_request(0, "ping", {}))
            await asyncio.wait_for(client.recv(), seconds)
        except TimeoutError as error:
            raise Fault(
                "failure", f"the control socket {self._path} does not answer", "see the daemon's log"
            ) from error
        finally:
            client.close()

    async def close(self) -> None:
        """Answers what is under way with an error, then removes the socket."""
        if self._socket is None:
            return
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        self._socket.close(linger=300)
        self._socket = None
        self._path.unlink(missing_ok=True)

    async def _read(self) -> None:
        assert self._socket is not None
        while True:
            frames = await self._socket.recv_multipart()
            if len(frames) != 2:
                continue
            rid, data = frames
            try:
                request = control.decode_request(data)
            except control.BadRequest as fault:
                await self._answer(rid, control.encode_error(fault.id, fault))
            except RemoteProtocolError as error:
                log.info("! a control message that cannot be read: %s", error)
            else:
                if len(self._tasks) >= MAX_REQUESTS:
                    full = Fault("refused", "too many requests under way", "wait for some to end")
                    await self._answer(rid, control.encode_error(request.id, full))
                    continue
                task = asyncio.create_task(self._serve(rid, request), name=f"control {request.method}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _serve(self, rid: bytes, request: control.Request) -> None:
        async def progress(event: Mapping[str, Any]) -> None:
            await self._send(rid, control.encode_progress(request.id, event))

        try:
            method = self._methods[request.method]
            result = await asyncio.wait_for(method(request.params, progress), request.deadline_s)
            answer = control.encode_reply(request.id, result)
        except Fault as fault:
            answer = control.encode_error(request.id, fault)
        except TimeoutError:
            answer = control.encode_error(request.id, Fault("timeout", "not done in time; the work goes on"))
        except ClientGone:
            return
        except asyncio.CancelledError:
            answer = control.encode_error(
                request.id, Fault("no_daemon", "the daemon is stopping", "start it again")
            )
        except (
            Exception
        ) as error:  # a bug in one method must not end the server, nor leave its client without an answer
            log.exception("! %s failed", request.method)
            answer = control.encode_error(
                request.id, Fault("failure", f"internal error: {error}", "see the daemon's log")
            )
        await self._answer(rid, answer)

    async def _answer(self, rid: bytes, data: bytes) -> None:
        try:
            await self._send(rid, data)
        except ClientGone:
            pass  # nobody waits for it any more

    async def _send(self, rid: bytes, data: bytes) -> None:
        if self._socket is None:
            raise ClientGone
        try:
            await self._socket.send_multipart([rid, data], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            raise ClientGone from error


class ClientGone(Exception):
    """The client of a request has left, or reads no more."""
