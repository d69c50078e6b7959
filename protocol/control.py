"""The control dialect (docs/control-api.md): requests of a local client, replies, progress.

The rule: one msgpack map a message, size and every bound checked before anything is built, and what comes out
has the types promised here. Knows nothing of sockets, of what a method does, or of msgspec: the one-shot
client imports this module at each start, so it stays with msgpack alone (and not even that until a message
is coded).
"""

from __future__ import annotations

from protocol.display import is_utf8, quoted
from protocol.errors import EXIT_STATUS, Fault, LocalProtocolError, RemoteProtocolError
from protocol.ids import CONTENT_ID_SIZE, MIN_PREFIX, is_hex
from protocol.limits import (
    MAX_ARRAY,
    MAX_CONTROL_REPLY,
    MAX_CONTROL_REQUEST,
    MAX_DEPTH,
    MAX_MAP,
    MAX_STRING,
)
from protocol.version import CONTROL_VERSION, VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

MAX_SOCKET_PATH = 107
"""Octets of a Unix socket path: sun_path of unix(7) has 108 with the final NUL."""

SOCKET_NAME = "control.sock"

MAX_ID = 2**63 - 1

UPGRADE_HINT = "use p2pctl and p2pd of the same release, and restart p2pd after an upgrade"

METHODS: dict[str, bool] = {
    "ping": False,
    "version": False,
    "status": False,
    "shutdown": False,
    "add": True,
    "remove": False,
    "rescan": True,
    "list": False,
    "search": False,
    "all_files": False,
    "peers": False,
    "info": False,
    "complete": False,
    "download": False,
    "wait": True,
    "transfers": False,
    "watch": True,
    "pause": False,
    "resume": False,
    "retry": False,
    "cancel": False,
    "limit": False,
    "queue": False,
    "stream": False,
    "stream_status": False,
    "verify": True,
    "events": False,
    "doctor": False,
    "rotate": False,
    "rotate_devices": False,
    "want": False,
    "wants": False,
    "unwant": False,
    "await_want": True,
    "ban": False,
    "unban": False,
    "bans": False,
    "tracker_status": False,
    "tracker_peers": False,
    "tracker_files": False,
    "tracker_expire": False,
    "config": False,
    "config_set": False,
    "config_unset": False,
    "reload": False,
    "logs": False,
}
"""Method -> whether it may send progress before its answer."""

FINAL_STATES = frozenset({"done", "failed", "cancelled", "skipped"})
"""States of a transfer that change no more."""


class Request:
    """A decoded request. What is in `params` is the client's word: its types are the method's to check."""

    __slots__ = ("deadline_s", "id", "method", "params")

    def __init__(self, id: int, method: str, params: dict[str, Any], deadline_s: float | None) -> None:
        self.id = id
        self.method = method
        self.params = params
        self.deadline_s = deadline_s


class Reply:
    """The one answer to a request: `result`, or `fault` (then `result` is empty)."""

    __slots__ = ("fault", "id", "result")

    def __init__(self, id: int, result: dict[str, Any], fault: Fault | None) -> None:
        self.id = id
        self.result = result
        self.fault = fault


class Progress:
    """One progress event of a request that waits."""

    __slots__ = ("event", "id")

    def __init__(self, id: int, event: dict[str, Any]) -> None:
        self.id = id
        self.event = event


class BadRequest(Fault):
    """A request that cannot be served, from a client that can be told so: answer `id` with this fault."""

    def __init__(
        self, id: int, code: str, message: str, hint: str = "", details: dict[str, object] | None = None
    ) -> None:
        super().__init__(code, message, hint, details)
        self.id = id


# -- coding -----------------------------------------------------------------------------------------------


def encode_request(id: int, method: str, params: Mapping[str, Any], deadline_s: float | None = None) -> bytes:
    """A request as octets. Raises Fault usage when the parameters are too long for one message."""
    message = {"v": CONTROL_VERSION, "id": id, "method": method, "params": params, "deadline_s": deadline_s}
    data = _pack(message)
    if len(data) > MAX_CONTROL_REQUEST:
        raise Fault("usage", "the arguments are too long for one request")
    return data


def decode_request(data: bytes) -> Request:
    """The request in `data`.

    Raises BadRequest for what deserves an answer (another version, an unknown method, a field of another
    type) and RemoteProtocolError for what cannot be answered (no map, no id, over a limit).
    """
    message = _unpack(data, MAX_CONTROL_REQUEST)
    id = _id(message)
    if message.get("v") != CONTROL_VERSION:
        raise BadRequest(
            id,
            "version",
            f"this daemon speaks control version {CONTROL_VERSION}",
            UPGRADE_HINT,
            {"versions": [CONTROL_VERSION], "daemon_version": VERSION},
        )
    method = message.get("method")
    if not isinstance(method, str):
        raise BadRequest(id, "usage", "the method is not text")
    if method not in METHODS:
        raise BadRequest(
            id,
            "version",
            f"this daemon has no method {method[:32]!r}",
            UPGRADE_HINT,
            {"method": method[:32], "daemon_version": VERSION},
        )
    params = message.get("params")
    if not isinstance(params, dict):
        raise BadRequest(id, "usage", "the parameters are not a map")
    deadline_s = message.get("deadline_s")
    if deadline_s is not None:
        if (
            isinstance(deadline_s, bool)
            or not isinstance(deadline_s, (int, float))
            or not 0 <= deadline_s < 1e9
        ):
            raise BadRequest(id, "usage", "deadline_s is not a number of seconds")
        deadline_s = float(deadline_s)
    return Request(id, method, params, deadline_s)


def encode_reply(id: int, result: Mapping[str, Any]) -> bytes:
    """A successful answer as octets. Raises LocalProtocolError over the limit: the caller cuts its pages."""
    return _answer({"id": id, "ok": result})


def encode_error(id: int, fault: Fault) -> bytes:
    """A failure as octets. Overlong text is cut, details that do not fit are left out: an error always
    arrives.
    """
    error = {
        "code": fault.code,
        "message": fault.message[: MAX_STRING // 4],
        "hint": fault.hint[: MAX_STRING // 4],
        "details": fault.details,
    }
    try:
        return _answer({"id": id, "error": error})
    except LocalProtocolError:
        return _answer({"id": id, "error": {**error, "details": {}}})


def encode_progress(id: int, event: Mapping[str, Any]) -> bytes:
    """A progress event as octets."""
    return _answer({"id": id, "event": event})


def decode_reply(data: bytes) -> Reply | Progress:
    """What a daemon sent. Raises RemoteProtocolError for anything that is neither reply nor progress.

    An error code this version does not know becomes "failure".
    """
    message = _unpack(data, MAX_CONTROL_REPLY)
    id = _id(message)
    if isinstance(result := message.get("ok"), dict):
        return Reply(id, result, None)
    if isinstance(event := message.get("event"), dict):
        return Progress(id, event)
    if isinstance(error := message.get("error"), dict):
        return Reply(id, {}, fault_of(error))
    raise RemoteProtocolError("neither reply nor progress")


def fault_of(error: Mapping[str, Any]) -> Fault:
    """The Fault an error map describes (`code`, `message`, `hint`, `details`; all may be missing)."""
    code = error.get("code")
    details = error.get("details")
    return Fault(
        code if isinstance(code, str) and code in EXIT_STATUS and code != "ok" else "failure",
        str(error.get("message") or "the daemon gave no reason"),
        str(error.get("hint") or ""),
        details if isinstance(details, dict) else None,
    )


def _answer(message: dict[str, Any]) -> bytes:
    data = _pack(message)
    if len(data) > MAX_CONTROL_REPLY:
        raise LocalProtocolError("control reply over the limit")
    return data


def _pack(message: dict[str, Any]) -> bytes:
    from msgpack import packb

    data: bytes = packb(message, unicode_errors="surrogateescape")
    return data


def _unpack(data: bytes, limit: int) -> dict[str, Any]:
    if len(data) > limit:
        raise RemoteProtocolError("message too long")
    from msgpack import unpackb

    try:
        message = unpackb(
            data,
            unicode_errors="surrogateescape",
            max_str_len=MAX_STRING,
            max_bin_len=0,
            max_ext_len=0,
            max_array_len=MAX_ARRAY,
            max_map_len=MAX_MAP,
        )
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"malformed message: {error}") from error
    if not isinstance(message, dict):
        raise RemoteProtocolError("not a map")
    _check(message, MAX_DEPTH)
    return message


def _check(value: Any, depth: int) -> None:
    """Nesting within `depth`, keys text, no octets (an empty `bin` passes msgpack's own limit of zero)."""
    if isinstance(value, dict):
        if depth == 0:
            raise RemoteProtocolError("nested too deep")
        for key, item in value.items():
            if type(key) is not str:
                raise RemoteProtocolError("a key is not text")
            _check(item, depth - 1)
    elif isinstance(value, list):
        if depth == 0:
            raise RemoteProtocolError("nested too deep")
        for item in value:
            _check(item, depth - 1)
    elif value is not None and type(value) not in _SCALARS:
        raise RemoteProtocolError(f"a {type(value).__name__} is not allowed")


_SCALARS = frozenset({str, int, float, bool})


def _id(message: dict[str, Any]) -> int:
    id = message.get("id")
    if type(id) is not int or not 0 <= id <= MAX_ID:
        raise RemoteProtocolError("no id")
    return id


# -- where the socket is ----------------------------------------------------------------------------------


def candidates(environ: Mapping[str, str]) -> list[str]:
    """Paths where the control socket may be, best first: a peer, a tracker, a service. A client tries each.

    An explicit place (P2PCTL_SOCKET, P2PD_SOCKET, P2PD_HOME) is the only one: falling back from it would
    reach another daemon than the one asked for. Empty values count as unset; XDG values that are not
    absolute are ignored (XDG Base Directory Specification). Empty list: neither a variable nor a home
    directory is known.
    """
    for name in ("P2PCTL_SOCKET", "P2PD_SOCKET"):
        if path := environ.get(name):
            return [path]
    if home := environ.get("P2PD_HOME"):
        return [in_home(home)]
    places = []
    state = environ.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):
        user = environ.get("HOME", "")
        state = _join(user, ".local/state") if user else ""
    if state:
        places.append(in_home(_join(state, "p2pd/peer")))
        places.append(in_home(_join(state, "p2pd/tracker")))
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):
        places.append(in_home(_join(runtime, "p2pd")))
    return places


def in_home(home: str) -> str:
    """The control socket of the daemon whose state directory is `home`."""
    return _join(home, SOCKET_NAME)


def endpoint(path: str) -> str:
    """The ZeroMQ address of a socket path. Raises Fault usage for a path that the kernel would refuse."""
    try:
        octets = len(path.encode())
    except UnicodeEncodeError as error:
        raise Fault("usage", "the socket path is not UTF-8") from error
    if octets > MAX_SOCKET_PATH:
        raise Fault(
            "usage",
            f"the socket path has {octets} octets, at most {MAX_SOCKET_PATH} are possible: {path}",
            "choose a shorter place with --socket or P2PD_SOCKET",
        )
    return "ipc://" + path


def _join(directory: str, name: str) -> str:
    return f"{directory.rstrip('/')}/{name}"


# -- references -------------------------------------------------------------------------------------------


class Reference:
    """How a person named a file: `kind` is "id" (64 digits), "prefix", "sha256" or "name"; compare with
    `value`.

    `text` is the words as given: an "id" without match is tried as SHA-256, a "prefix" without match as a
    name.
    """

    __slots__ = ("kind", "text", "value")

    def __init__(self, kind: str, value: str, text: str) -> None:
        self.kind = kind
        self.value = value
        self.text = text


def parse_reference(text: str) -> Reference:
    """Sort a reference by its form (docs/control-api.md, "References"). Fault usage if it can match
    nothing.
    """
    digits = 2 * CONTENT_ID_SIZE
    if text.startswith("sha256:"):
        value = text[7:].lower()
        if not is_hex(value) or not MIN_PREFIX <= len(value) <= digits:
            raise Fault("usage", f"{text!r} is not sha256: and {MIN_PREFIX} to {digits} hex digits")
        return Reference("sha256", value, text)
    name = text.removeprefix("name:")
    if not name:
        raise Fault(
            "usage", "an empty reference", "name a file by its id, 8 or more digits of it, or its name"
        )
    if not is_utf8(name):
        raise Fault("usage", f"{quoted(text)} is not UTF-8", "names in the swarm are")
    if name == text and is_hex(value := text.lower()) and MIN_PREFIX <= len(value) <= digits:
        return Reference("id" if len(value) == digits else "prefix", value, text)
    return Reference("name", name, text)
