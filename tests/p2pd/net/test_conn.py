"""A connection as a dialect sees it: what it passes on, and how it looks in a log."""

from __future__ import annotations

from p2pd.net.conn import Conn
from protocol.peer import Done, decode_reply


class Carried:
    """A router that only remembers."""

    def __init__(self) -> None:
        self.sent: list[tuple[Conn, bytes, bytes]] = []
        self.ended: list[tuple[Conn, str]] = []

    def send(self, conn: Conn, header: bytes, payload: bytes | bytearray | memoryview) -> None:
        self.sent.append((conn, header, bytes(payload)))

    def close(self, conn: Conn, reason: str) -> None:
        self.ended.append((conn, reason))


def test_a_message_is_encoded_and_given_to_the_router_with_its_payload() -> None:
    router = Carried()
    conn = Conn(router, b"rid", "10.0.0.1", 7, 0.0)
    conn.send(Done(5), b"payload")
    ((sender, header, payload),) = router.sent
    assert sender is conn
    assert decode_reply(header) == Done(5)
    assert payload == b"payload"


def test_closing_is_the_routers_work() -> None:
    router = Carried()
    conn = Conn(router, b"rid", "10.0.0.1", 7, 0.0)
    conn.close("enough")
    assert router.ended == [(conn, "enough")]


def test_blocked_while_records_wait() -> None:
    conn = Conn(Carried(), b"rid", "10.0.0.1", 7, 0.0)
    assert not conn.blocked
    conn.backlog.append(b"record")
    assert conn.blocked


def test_shown_by_address_and_the_first_of_its_device_id() -> None:
    conn = Conn(Carried(), b"rid", "10.0.0.1", 7, 0.0)
    assert str(conn) == "10.0.0.1/-"
    conn.device_id = bytes(20)
    assert str(conn) == "10.0.0.1/aaaaaaaa"
