"""Logging: where it goes, how it looks, and what never gets into it.

The rule: log lines are a transcript (`<` in, `>` out, `=` state, `!` trouble); whatever came from outside is escaped,
invites and registered secrets are masked in every spelling, and a line that repeats is counted instead of written.
Identifiers (content ids, device ids) are not secret and stay readable, so long hexadecimal text is not masked as such.

A record logged with `extra={"about": "203.0.113.7"}` is counted together with all others about the same, whatever it
says.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from protocol.display import safe

REPEATS = 10  # equal lines a minute that are written; the others are counted
WINDOW = 60.0
_REMEMBERED = 512
_INVITE = re.compile(r"p2p1-[a-z2-7-]{8,}", re.IGNORECASE)


class Repetition(logging.Filter):
    """Lets REPEATS equal lines through in WINDOW seconds; the first of the next window says how many were left out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter."""
        key = (record.name, record.getMessage())
        now = self._clock()
        since, count = self._seen.get(key, (now, 0))
        if now - since >= WINDOW:
            if count > REPEATS:
                record.msg, record.args = f"{key[1]} ({count - REPEATS} more were left out)", ()
            since, count = now, 0
        if len(self._seen) >= _REMEMBERED and key not in self._seen:
            self._seen.clear()
        self._seen[key] = since, count + 1
        return count < REPEATS


def clean(text: str) -> str:
    """`text` for a log: control characters escaped, invites masked."""
    return _INVITE.sub("p2p1-...", safe(text))


class TextFormat(logging.Formatter):
    """time level area message"""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        moment = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        line = f"{moment} {record.levelname.lower():7} {record.name.removeprefix('p2pd.'):12} {clean(record.getMessage())}"
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
            "message": clean(record.getMessage()),
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
