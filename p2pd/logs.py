"""Logging: where it goes, how it looks, and what never gets into it.

The rule: log lines are a transcript (`<` in, `>` out, `=` state, `!` trouble); whatever came from outside is escaped,
invites and registered secrets are masked in every spelling, and a line that repeats is counted instead of written.
Identifiers (content ids, device ids) are not secret and stay readable, so long hexadecimal text is not masked as
such.

A record logged with `extra={"about": "203.0.113.7"}` is counted together with all others about the same, whatever it
says.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from base64 import b32encode, b64encode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from protocol.display import safe
from protocol.errors import LocalProtocolError

REPEATS = 10  # equal lines a minute that are written; the others are counted
WINDOW = 60.0
MASK = "[secret]"
_REMEMBERED = 512  # lines counted at a time, the longest silent forgotten first
_LEAST_SECRET = 16  # octets; masking anything shorter would tear words apart
_INVITE = re.compile(r"p2p1-[a-z2-7-]{8,}", re.IGNORECASE)
_spellings: set[str] = set()


class Repetition(logging.Filter):
    """Lets REPEATS equal lines through in WINDOW seconds; the first of the next window says how many were
    left out.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter."""
        message = _message(record)
        key = (record.name, str(getattr(record, "about", message)))
        now = self._clock()
        with self._lock:
            since, count = self._seen.get(key, (now, 0))
            left_out = max(0, count - REPEATS) if now - since >= WINDOW else 0
            if now - since >= WINDOW:
                since, count = now, 0
            self._seen[key] = since, count + 1
            self._seen.move_to_end(key)
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        if left_out:
            record.msg, record.args = "%s (%d more were left out)", (message, left_out)
        return count < REPEATS


def register_secret(octets: bytes) -> None:
    """From now on these octets (a key; 16 or more) are masked in every line: hex, base32, base64 and
    Python's own form.

    Raises LocalProtocolError for fewer octets. Never forgotten: for the few keys of a daemon.
    """
    if len(octets) < _LEAST_SECRET:
        raise LocalProtocolError("too short to be masked")
    base32 = b32encode(octets).decode("ascii").rstrip("=")
    _spellings.update(
        (
            octets.hex(),
            octets.hex().upper(),
            base32,
            base32.lower(),
            b64encode(octets).decode("ascii").rstrip("="),
            urlsafe_b64encode(octets).decode("ascii").rstrip("="),
            repr(octets)[2:-1],
        )
    )


def clean(text: str) -> str:
    """`text` for a log: one line, hidden characters escaped, invites and registered secrets masked."""
    for spelling in tuple(_spellings):
        if spelling in text:
            text = text.replace(spelling, MASK)
    return _INVITE.sub("p2p1-...", safe(text))


def _message(record: logging.LogRecord) -> str:
    """The message of a record, or its bare format if the arguments do not fit: a log call never raises."""
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        return f"{record.msg} (log arguments do not fit)"


class TextFormat(logging.Formatter):
    """time level area message"""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        moment = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        line = f"{moment} {record.levelname.lower():7} {record.name.removeprefix('p2pd.'):12} {clean(_message(record))}"
        if record.exc_info:
            line += "\n" + "\n".join(
                clean(part) for part in self.formatException(record.exc_info).splitlines()
            )
        return line


class JsonFormat(logging.Formatter):
    """One object a line: time, level, area, message, and exception when there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        document = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "area": record.name,
            "message": clean(_message(record)),
        }
        if record.exc_info:
            document["exception"] = clean(self.formatException(record.exc_info).replace("\n", " | "))
        return json.dumps(document, ensure_ascii=False)


def setup(level: str, style: str, stream: TextIO) -> logging.Handler:
    """Sends the daemon's log to `stream`. `level`: debug, info, warning, error; `style`: text or json."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormat() if style == "json" else TextFormat())
    handler.addFilter(Repetition())
    root = logging.getLogger("p2pd")
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    root.propagate = False
    return handler
