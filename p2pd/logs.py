"""Logging: where it goes, how it looks, and what never gets into it.

The rule: log lines are a transcript (`<` in, `>` out, `=` state, `!` trouble); whatever came from outside is escaped,
invites and registered secrets are masked in every spelling, and a line that repeats is counted instead of written (logflood.py).
Identifiers (content ids, device ids) are not secret and stay readable, so long hexadecimal text is not masked as
such.

Each line is made once and goes to stderr, to a file if the settings name one (logfile.py), and into memory (logring.py). A record
logged with `extra={"about": "203.0.113.7"}` is counted together with all others about the same, whatever it says.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from base64 import b32encode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from typing import TextIO

from p2pd.logfile import LogFile
from p2pd.logflood import Floods
from p2pd.logring import Line, Ring
from protocol.display import safe
from protocol.errors import LocalProtocolError

MASK = "[secret]"
_LEAST_SECRET = 16  # octets; masking anything shorter would tear words apart
_INVITE = re.compile(r"p2p1-[a-z2-7-]{8,}", re.IGNORECASE)
_spellings: set[str] = set()
_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


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


def journal(environ: Mapping[str, str], fd: int) -> bool:
    """Is this descriptor the system's journal? (systemd.exec(5), JOURNAL_STREAM.)"""
    try:
        device, inode = (int(part) for part in environ.get("JOURNAL_STREAM", "").split(":"))
        status = os.fstat(fd)
    except (ValueError, OSError):
        return False
    return (status.st_dev, status.st_ino) == (device, inode)


def as_text(line: Line, moment: str = "%H:%M:%S") -> str:
    """`time level area message`, and the lines of a traceback."""
    parts = f"{line.level:7} {line.area.removeprefix('p2pd.'):12} {line.message}"
    if moment:
        milliseconds = int(line.time * 1000) % 1000
        parts = f"{datetime.fromtimestamp(line.time).strftime(moment)}.{milliseconds:03} {parts}"
    return f"{parts}\n{line.exception}" if line.exception else parts


def as_json(line: Line) -> str:
    """One object: time, level, area, message, and exception when there is one."""
    moment = datetime.fromtimestamp(line.time, UTC).isoformat(timespec="milliseconds")
    document = {
        "time": moment.replace("+00:00", "Z"),
        "level": line.level,
        "area": line.area,
        "message": line.message,
    }
    if line.exception:
        document["exception"] = line.exception.replace("\n", " | ")
    return json.dumps(document, ensure_ascii=False)


def as_journal(text: str, level: str) -> str:
    """Each line with its priority in front (sd-daemon(3)); the journal knows the time."""
    return "\n".join(f"<{_PRIORITY[level]}>{line}" for line in text.split("\n"))


class Log(logging.Handler):
    """The daemon's log: into `stream`, into a file if there is one, and into `ring`. `style` is text or json."""

    def __init__(
        self,
        style: str,
        stream: TextIO,
        *,
        to_journal: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.ring = Ring()
        self.style = style
        self._stream = stream
        self._to_journal = to_journal
        self._clock = clock
        self._floods = Floods()
        self._file: LogFile | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler. Never raises: a log that cannot be written must not stop what it tells of."""
        message = clean(_message(record))
        level, area = record.levelname.lower(), record.name
        self.sweep()
        about = getattr(record, "about", None)
        same = (area, message if about is None else str(about))
        if not self._floods.admit(same, (area, str(record.msg)), level, area, message, self._clock()):
            return
        exception = ""
        if record.exc_info:
            text = logging.Formatter().formatException(record.exc_info)
            exception = "\n".join(clean(part) for part in text.splitlines())
        self._write(Line(record.created, level, area, message, exception))

    def sweep(self) -> None:
        """Tells what was left out, when its time has come. Call it now and then, for nothing else may be logged."""
        for flood in self._floods.over(self._clock()):
            self._write(Line(time.time(), flood.level, flood.area, flood.text))

    def finish(self) -> None:
        """Tells what was left out so far: the end of the log."""
        for flood in self._floods.over(float("inf")):
            self._write(Line(time.time(), flood.level, flood.area, flood.text))

    def _write(self, line: Line) -> None:
        json_style = self.style == "json"
        with self.lock or nullcontext():  # sweep is not called by `handle`, which takes it too
            text = as_json(line) if json_style else as_text(line, "" if self._to_journal else "%H:%M:%S")
            if self._to_journal:
                text = as_journal(text, line.level)
            with suppress(OSError, ValueError):  # closed, full, or its reader has gone
                self._stream.write(text + "\n")
                self._stream.flush()
            if self._file is not None:
                self._file.write((as_json(line) if json_style else as_text(line, "%Y-%m-%d %H:%M:%S")) + "\n")
        self.ring.add(line)

    def set_file(self, file: LogFile | None) -> None:
        """Writes to another file from now on, or to none; the one before is closed."""
        with self.lock or nullcontext():
            before, self._file = self._file, file
        if before is not None:
            before.close()


def set_level(level: str) -> None:
    """From now on only this level and graver ones: debug, info, warning, error."""
    logging.getLogger("p2pd").setLevel(level.upper())


def setup(
    level: str,
    style: str,
    stream: TextIO,
    *,
    to_journal: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Log:
    """Sends the daemon's log to `stream`. `level`: debug, info, warning, error; `style`: text or json."""
    log = Log(style, stream, to_journal=to_journal, clock=clock)
    for name in ("p2pd", "asyncio"):  # what the event loop complains of belongs here too
        logger = logging.getLogger(name)
        for old in list(logger.handlers):
            logger.removeHandler(old)
        logger.addHandler(log)
        logger.propagate = False
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    set_level(level)
    return log
