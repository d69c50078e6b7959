"""p2pd/net/http.py: one page, for this machine, to whoever asks properly."""

from __future__ import annotations

import asyncio

import pytest

from p2pd.net import http as http_module
from p2pd.net.addresses import Endpoint
from p2pd.net.http import HEAD_OCTETS, HttpServer
from protocol.errors import Fault


async def page() -> tuple[str, bytes]:
    return "text/x", b"figures\n"


async def broken() -> tuple[str, bytes]:
    raise Fault("storage", "the disk is gone")


async def bug() -> tuple[str, bytes]:
    raise ValueError("oh")


def ask(request: bytes, what: http_module.Page = page, host: str = "") -> bytes:
    """What the server answers to these octets."""

    async def main() -> bytes:
        server = HttpServer("/metrics", what)
        port = await server.start(Endpoint(host, 0))
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            answer = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            await writer.wait_closed()
            return answer
        finally:
            await server.close()

    return asyncio.run(main())


def get(target: str = "/metrics", method: str = "GET", host: str = "127.0.0.1:9464") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n".encode()


@pytest.mark.parametrize(
    "host", ["127.0.0.1:1", "localhost", "LOCALHOST".lower() + ":80", "[::1]:5", "[::1]"]
)
def test_the_page(host: str) -> None:
    head, _, body = ask(get(host=host)).partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 200 OK",
        b"Content-Type: text/x",
        b"Content-Length: 8",
        b"Connection: close",
    ]
    assert body == b"figures\n"


def test_only_its_head() -> None:
    assert ask(get(method="HEAD")).endswith(b"Connection: close\r\n\r\n")
    assert ask(get("/metrics?x=1")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/"), b"404"),
        (get(method="POST"), b"405"),
        (get(host="evil.example"), b"403"),
        (get(host="evil.example:9464"), b"403"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"403"),
        (b"\r\n\r\n", b"403"),
    ],
)
def test_what_is_refused(request_: bytes, status: bytes) -> None:
    assert ask(request_).split(b" ")[1] == status


def test_trouble_is_an_answer() -> None:
    assert b"503" in ask(get(), broken)
    assert b"the disk is gone" in ask(get(), broken)
    assert b" 500 " in ask(get(), bug)


def test_what_never_ends_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "HEAD_SECONDS", 0.05)
    assert ask(b"GET /metrics HTTP/1.1\r\n") == b""
    assert ask(b"x" * (2 * HEAD_OCTETS)) == b""


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::", "example.org"])
def test_other_machines_are_not_listened_to(host: str) -> None:
    with pytest.raises(Fault) as caught:
        ask(b"", host=host)
    assert caught.value.code == "usage"


def test_a_port_that_is_taken_is_a_fault() -> None:
    async def main() -> None:
        first = HttpServer("/metrics", page)
        port = await first.start(Endpoint("", 0))
        with pytest.raises(Fault) as caught:
            await HttpServer("/metrics", page).start(Endpoint("", port))
        assert caught.value.code == "network"
        await first.close()

    asyncio.run(main())
