"""The server's log: time stamps, levels, the request that a line belongs to; as text for people, as JSON for machines.

Every request is one line with its route's template, never the path with its ids, and no text of a person.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from promptseg.app.settings import ServeSettings

__all__ = ["REQUEST", "JsonLines", "TextLines", "new_request_id", "set_up"]

REQUEST: ContextVar[str] = ContextVar("request", default="-")
GIVEN = re.compile(r"[A-Za-z0-9._-]{8,64}")  # an id that a proxy made: taken over
TALKATIVE = ("httpx", "httpcore", "PIL", "asyncio", "multipart", "alembic.runtime.plugins")  # they tell of every step
FACTS = ("method", "route", "status", "ms", "user", "address")


def new_request_id(given: str | None) -> str:
    """Return the id of a request: the one that came with it where it is a plain one, else a new one."""
    return given if given is not None and GIVEN.fullmatch(given) else secrets.token_hex(8)


class TextLines(logging.Formatter):
    """``2026-01-31T12:00:00.000+00:00 WARNING promptseg.app [request] what happened``; a line's breaks are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the traceback behind it where there is one."""
        text = record.getMessage().replace("\r", "\\r").replace("\n", "\\n")  # nobody forges a line
        facts = "".join(f" {name}={getattr(record, name)}" for name in FACTS if hasattr(record, name))
        line = f"{_stamp(record)} {record.levelname} {record.name} [{REQUEST.get()}] {text}{facts}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, request, message, and a request's facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {"time": _stamp(record), "level": record.levelname.lower(), "logger": record.name}
        line |= {"request": REQUEST.get(), "message": record.getMessage()}
        line |= {name: getattr(record, name) for name in FACTS if hasattr(record, name)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _stamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def set_up(settings: ServeSettings) -> None:
    """Send everything that the process logs to standard error, as the settings say."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
