"""The smallest HTTP server that a scraper needs: GET of one path, on loopback only. On the event loop.

The rule: nobody on another machine is listened to, and no page that a browser has open reads it (the Host must be a loopback one). A
request has a bounded size and a bounded time, and gets one answer, after which the connection is closed. Knows nothing of what it serves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from p2pd.net.addresses import Endpoint, format_endpoint, is_loopback
from protocol.errors import Fault

log = logging.getLogger("p2pd.net.http")

HEAD_OCTETS = 8 * 1024
HEAD_SECONDS = 5.0
CONNECTIONS = 16
_HOSTS = ("localhost", "127.0.0.1", "[::1]")

Page = Callable[[], Awaitable[tuple[str, bytes]]]
"""Content type and octets of the page."""


class HttpServer:
    """Serves `page` at `path`."""

    def __init__(self, path: str, page: Page) -> None:
        self.port = 0
        self._path = path
        self._page = page
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, where: Endpoint) -> int:
        """Listens; the port. Raises Fault usage for an address that is not loopback, and network when it cannot listen."""
        host = where.host or "127.0.0.1"
        if not is_loopback(host):
            raise Fault(
                "usage", f"{host} is not a loopback address", "use 127.0.0.1, and a proxy for other machines"
            )
        try:
            self._server = await asyncio.start_server(self._came, host, where.port, limit=HEAD_OCTETS)
        except OSError as error:
            shown = format_endpoint(host, where.port)
            raise Fault(
                "network",
                f"cannot listen on {shown}: {error.strerror}",
                "choose another port for metrics.listen",
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    async def close(self) -> None:
        """Ends it, and what is under way."""
        if self._server is not None:
            self._server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if len(self._tasks) <= CONNECTIONS:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_SECONDS)
                writer.write(await self._answer(head))
                await asyncio.wait_for(writer.drain(), HEAD_SECONDS)
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # no request, or nobody there any more
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, head: bytes) -> bytes:
        lines = head.decode("latin-1").split("\r\n")
        method, _, rest = lines[0].partition(" ")
        target = rest.partition(" ")[0].partition("?")[0]
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:])
        }
        host = headers.get("host", "")
        if (host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host) not in _HOSTS:
            return _response("403 Forbidden", b"for programs on this machine\n")
        if method not in ("GET", "HEAD"):
            return _response("405 Method Not Allowed", b"only GET\n")
        if target != self._path:
            return _response("404 Not Found", f"see {self._path}\n".encode())
        try:
            kind, body = await self._page()
        except Fault as fault:
            return _response("503 Service Unavailable", fault.message.encode("utf-8", "replace") + b"\n")
        except Exception:  # a scraper comes again; the daemon goes on
            log.exception("! a page could not be made")
            return _response("500 Internal Server Error", b"the log says more\n")
        return _response("200 OK", body, kind, head=method == "HEAD")


def _response(
    status: str, body: bytes, kind: str = "text/plain; charset=utf-8", *, head: bool = False
) -> bytes:
    fields = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return fields.encode("latin-1") + (b"" if head else body)
