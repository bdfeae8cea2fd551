"""The operator's log: lines for people on standard error, JSON lines in a file."""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chatkit.errors import UsageError
from chatkit.frontends.visible import visible

_COLOURS = {
    logging.DEBUG: "\x1b[2m",
    logging.INFO: "\x1b[36m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}
_FIELDS = ("event", "connection", "address", "user", "count")
"""What the server's logger knows of a line besides its text."""
_SAID = frozenset({"listening"})
"""Events that ``chatkit serve`` also tells on standard output."""
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class PeopleFormatter(logging.Formatter):
    """One line per record, in colour if asked; what a peer sent cannot steer the terminal."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone()
        clock = f"{time:%Y-%m-%d %H:%M:%S}.{int(record.msecs):03d}"
        level, message = f"{record.levelname.lower():<8}", visible(_placed(record))
        if self._colour:
            tint = _COLOURS.get(record.levelno, "")
            line = f"{_DIM}{clock}{_PLAIN} {tint}{level}{_PLAIN} {message}  {_DIM}{record.name}{_PLAIN}"
        else:
            line = f"{clock} {level} {message}  {record.name}"
        if record.exc_info:
            trace = (visible(row) for row in self.formatException(record.exc_info).splitlines())
            line = "\n".join((line, *trace))
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object per record: time (RFC 3339, UTC), level, logger, message; besides, where they are known,
    event, connection, address, user, count, and exception."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {name: value for name in _FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def _placed(record: logging.LogRecord) -> str:
    """Return a record's message with its connection, which most messages name already."""
    message, connection = record.getMessage(), getattr(record, "connection", None)
    if connection is None or message.startswith(f"[{connection} "):
        return message
    return f"[{connection} {getattr(record, 'address', '')}] {message}"


def _not_said_beside(record: logging.LogRecord) -> bool:
    return getattr(record, "event", None) not in _SAID


def start_logging(level: str, file: Path | None) -> None:
    """Send chatkit's log from ``level`` up to standard error, and to a file if one is named, which may be moved away
    while it is written. Where one terminal shows output and log, what both say is in the output alone.

    Raises `UsageError` if the file cannot be written.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    handlers[0].setFormatter(PeopleFormatter(colour=sys.stderr.isatty()))
    if sys.stderr.isatty() and sys.stdout.isatty():
        handlers[0].addFilter(_not_said_beside)
    if file is not None:
        try:
            handlers.append(logging.handlers.WatchedFileHandler(file, encoding="utf-8", errors="backslashreplace"))
        except OSError as error:
            raise UsageError(f"the log file {str(file)!r} cannot be written: {error.strerror}") from error
        handlers[1].setFormatter(JsonFormatter())
    logger = logging.getLogger("chatkit")
    logger.setLevel(level.upper())
    logger.handlers = handlers
    logger.propagate = False
