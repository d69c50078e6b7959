"""The control dialect: what goes through, what is refused, where the socket is, what a reference means."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from protocol import control
from protocol.errors import EXIT_STATUS, Fault, LocalProtocolError, RemoteProtocolError
from protocol.limits import MAX_ARRAY, MAX_CONTROL_REPLY, MAX_CONTROL_REQUEST, MAX_DEPTH, MAX_MAP, MAX_STRING
from protocol.version import CONTROL_VERSION, VERSION


def request(**changes: Any) -> bytes:
    message = {"v": CONTROL_VERSION, "id": 7, "method": "ping", "params": {}, "deadline_s": None, **changes}
    data: bytes = msgpack.packb({key: value for key, value in message.items() if value is not ...})
    return data


def deep(levels: int) -> Any:
    return {"x": deep(levels - 1)} if levels else 1


class TestRequests:
    def test_a_request_arrives_as_it_was_sent(self) -> None:
        params = {"text": "α", "limit": 3, "wait": True, "ext": None, "names": ["a"], "f": 1.5}
        got = control.decode_request(control.encode_request(2**63 - 1, "search", params, 2.5))
        assert (got.id, got.method, got.params, got.deadline_s) == (2**63 - 1, "search", params, 2.5)

    def test_a_path_that_is_not_utf8_keeps_its_octets(self) -> None:
        path = b"/tmp/\xff.bin".decode("utf-8", "surrogateescape")
        data = control.encode_request(1, "add", {"path": path})
        assert b"/tmp/\xff.bin" in data
        assert control.decode_request(data).params["path"] == path

    def test_too_long_a_request_is_the_users_fault(self) -> None:
        params = {"names": ["x" * MAX_STRING] * (MAX_CONTROL_REQUEST // MAX_STRING)}
        with pytest.raises(Fault) as caught:
            control.encode_request(1, "add", params)
        assert caught.value.code == "usage"

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"v": 2}, "version"),
            ({"v": None}, "version"),
            ({"v": ...}, "version"),
            ({"method": "reformat"}, "version"),
            ({"method": 5}, "usage"),
            ({"method": ...}, "usage"),
            ({"params": []}, "usage"),
            ({"params": ...}, "usage"),
            ({"deadline_s": "1"}, "usage"),
            ({"deadline_s": True}, "usage"),
            ({"deadline_s": -1}, "usage"),
            ({"deadline_s": float("nan")}, "usage"),
            ({"deadline_s": float("inf")}, "usage"),
        ],
    )
    def test_what_deserves_an_answer_says_to_whom(self, changes: dict[str, Any], code: str) -> None:
        with pytest.raises(control.BadRequest) as caught:
            control.decode_request(request(**changes))
        assert caught.value.id == 7
        assert caught.value.code == code

    def test_another_version_is_told_ours(self) -> None:
        with pytest.raises(control.BadRequest) as caught:
            control.decode_request(request(v=99, method=[1], params="another shape"))
        assert caught.value.details == {"versions": [CONTROL_VERSION], "daemon_version": VERSION}

    def test_a_method_of_another_release_is_told_ours(self) -> None:
        with pytest.raises(control.BadRequest) as caught:
            control.decode_request(request(method="reformat"))
        assert caught.value.details == {"method": "reformat", "daemon_version": VERSION}

    @pytest.mark.parametrize("id", [..., None, "7", -1, 2**63, True, 1.0])
    def test_without_an_id_nothing_can_be_answered(self, id: Any) -> None:
        with pytest.raises(RemoteProtocolError):
            control.decode_request(request(id=id))

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\xc1",
            request()[:-1],
            request() + b"\x00",
            msgpack.packb([1, 2]),
            msgpack.packb(1),
            request(x=b""),
            request(x=b"a"),
            request(x=msgpack.Timestamp(1)),
            request(x=msgpack.ExtType(1, b"")),
            request(x="a" * (MAX_STRING + 1)),
            request(x=[0] * (MAX_ARRAY + 1)),
            request(x={str(n): n for n in range(MAX_MAP + 1)}),
            request(x={1: 2}),
            request(x={b"k": 2}),
            request(x=deep(MAX_DEPTH)),
            b"\x91" * 2000 + b"\x90",
            b"\xdd\xff\xff\xff\xff",
            b"\xdf\xff\xff\xff\xff",
            b"\xdb\xff\xff\xff\xff",
            b"\x81\xa1v" * 3000,
            b"\xc0" * (MAX_CONTROL_REQUEST + 1),
        ],
    )
    def test_hostile_octets_are_one_error(self, data: bytes) -> None:
        with pytest.raises(RemoteProtocolError):
            control.decode_request(data)

    def test_the_limits_themselves_pass(self) -> None:
        x = [deep(MAX_DEPTH - 3), ["a" * MAX_STRING], [0] * MAX_ARRAY, {str(n): n for n in range(MAX_MAP)}]
        assert control.decode_request(request(params={"x": x})).params == {"x": x}


class TestReplies:
    def test_a_reply(self) -> None:
        reply = control.decode_reply(control.encode_reply(3, {"items": [{"id": "ab"}], "next": None}))
        assert isinstance(reply, control.Reply)
        assert (reply.id, reply.result, reply.fault) == (3, {"items": [{"id": "ab"}], "next": None}, None)

    def test_an_event(self) -> None:
        event = control.decode_reply(control.encode_progress(3, {"received_bytes": 5}))
        assert isinstance(event, control.Progress)
        assert (event.id, event.event) == (3, {"received_bytes": 5})

    @pytest.mark.parametrize("code", [code for code in EXIT_STATUS if code != "ok"])
    def test_every_fault_travels_whole(self, code: str) -> None:
        reply = control.decode_reply(
            control.encode_error(3, Fault(code, "m", "h", {"matches": [{"id": "a"}]}))
        )
        assert isinstance(reply, control.Reply)
        assert reply.fault is not None
        fault = reply.fault
        assert (fault.code, fault.message, fault.hint, fault.details) == (
            code,
            "m",
            "h",
            {"matches": [{"id": "a"}]},
        )

    @pytest.mark.parametrize("code", ["ok", "from_the_future", 5, None])
    def test_an_unknown_code_is_a_failure(self, code: Any) -> None:
        reply = control.decode_reply(msgpack.packb({"id": 1, "error": {"code": code, "details": 3}}))
        assert isinstance(reply, control.Reply)
        assert reply.fault is not None
        assert reply.fault.code == "failure"
        assert reply.fault.message

    def test_an_error_always_fits(self) -> None:
        fault = Fault("storage", "m" * 2_000_000, "h" * 2_000_000, {"x": ["y" * 4000] * 1000})
        data = control.encode_error(3, fault)
        assert len(data) < MAX_CONTROL_REPLY
        reply = control.decode_reply(data)
        assert isinstance(reply, control.Reply)
        assert reply.fault is not None
        assert reply.fault.details == {}

    def test_a_page_that_is_too_long_is_the_daemons_bug(self) -> None:
        with pytest.raises(LocalProtocolError):
            control.encode_reply(1, {"items": ["x" * 4000] * 1000})

    @pytest.mark.parametrize(
        "message",
        [{}, {"id": 1}, {"id": 1, "ok": 1}, {"id": 1, "event": None}, {"ok": {}}, {"id": 1, "error": "x"}],
    )
    def test_anything_else_is_refused(self, message: dict[str, Any]) -> None:
        with pytest.raises(RemoteProtocolError):
            control.decode_reply(msgpack.packb(message))


class TestCandidates:
    @pytest.mark.parametrize(
        ("environ", "paths"),
        [
            ({}, []),
            (
                {"HOME": "/h"},
                ["/h/.local/state/p2pd/peer/control.sock", "/h/.local/state/p2pd/tracker/control.sock"],
            ),
            (
                {"HOME": "/h", "XDG_STATE_HOME": "/s"},
                ["/s/p2pd/peer/control.sock", "/s/p2pd/tracker/control.sock"],
            ),
            (
                {"HOME": "/h", "XDG_STATE_HOME": "s"},
                ["/h/.local/state/p2pd/peer/control.sock", "/h/.local/state/p2pd/tracker/control.sock"],
            ),
            (
                {"HOME": "/h", "XDG_RUNTIME_DIR": "/run/1/"},
                [
                    "/h/.local/state/p2pd/peer/control.sock",
                    "/h/.local/state/p2pd/tracker/control.sock",
                    "/run/1/p2pd/control.sock",
                ],
            ),
            (
                {"HOME": "/h", "XDG_RUNTIME_DIR": "run"},
                ["/h/.local/state/p2pd/peer/control.sock", "/h/.local/state/p2pd/tracker/control.sock"],
            ),
            ({"HOME": "/h", "P2PD_HOME": "/d", "XDG_RUNTIME_DIR": "/run/1"}, ["/d/control.sock"]),
            ({"P2PD_HOME": "/d", "P2PD_SOCKET": "/p"}, ["/p"]),
            ({"P2PD_SOCKET": "/p", "P2PCTL_SOCKET": "/c"}, ["/c"]),
            (
                {"P2PD_SOCKET": "", "P2PD_HOME": "", "HOME": "/h"},
                ["/h/.local/state/p2pd/peer/control.sock", "/h/.local/state/p2pd/tracker/control.sock"],
            ),
        ],
    )
    def test_order(self, environ: dict[str, str], paths: list[str]) -> None:
        assert control.candidates(environ) == paths

    def test_the_longest_path_and_one_more(self) -> None:
        longest = "/" + "ä" * 53
        assert control.endpoint(longest) == "ipc://" + longest
        with pytest.raises(Fault) as caught:
            control.endpoint(longest + "a")
        assert caught.value.code == "usage"

    def test_a_path_that_is_not_utf8(self) -> None:
        with pytest.raises(Fault):
            control.endpoint("/\udcff")


class TestReferences:
    @pytest.mark.parametrize(
        ("text", "kind", "value"),
        [
            ("ab" * 32, "id", "ab" * 32),
            ("AB" * 32, "id", "ab" * 32),
            ("7f3a91c2", "prefix", "7f3a91c2"),
            ("7F3A91C2", "prefix", "7f3a91c2"),
            ("a" * 63, "prefix", "a" * 63),
            ("7f3a91c", "name", "7f3a91c"),
            ("a" * 65, "name", "a" * 65),
            ("7f3a91cg", "name", "7f3a91cg"),
            ("example.txt", "name", "example.txt"),
            ("name:deadbeef", "name", "deadbeef"),
            ("name:name:x", "name", "name:x"),
            ("sha256:" + "AB" * 32, "sha256", "ab" * 32),
            ("sha256:7f3a91c2", "sha256", "7f3a91c2"),
        ],
    )
    def test_forms(self, text: str, kind: str, value: str) -> None:
        reference = control.parse_reference(text)
        assert (reference.kind, reference.value, reference.text) == (kind, value, text)

    @pytest.mark.parametrize(
        "text", ["", "name:", "sha256:", "sha256:7f3a", "sha256:xyz", "sha256:" + "a" * 65, "a\udcff"]
    )
    def test_what_can_match_nothing(self, text: str) -> None:
        with pytest.raises(Fault) as caught:
            control.parse_reference(text)
        assert caught.value.code == "usage"
