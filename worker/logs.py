"""Log lines for people and for collectors, on standard error."""

from __future__ import annotations

import json
import logging
import sys
import time


class TextFormatter(logging.Formatter):
    """2026-01-31 12:00:00.123 INFO  message"""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Local time with milliseconds."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        return f"{stamp}.{int(record.msecs):03d}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (Unix seconds), level, logger, message, tag, type, error."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("tag", "type"):  # bound by a handler's context().log
            if hasattr(record, name):
                line[name] = getattr(record, name)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)


def set_up(level: str, style: str) -> None:
    """Log to standard error from `level` on, as "text" or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    text = TextFormatter("%(asctime)s %(levelname)-7s %(message)s")
    handler.setFormatter(JsonFormatter() if style == "json" else text)
    handler.addFilter(_one_line)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.raiseExceptions = False  # a closed standard error must not end the worker


def _one_line(record: logging.LogRecord) -> bool:
    """Text from a task must not be able to forge a log line or hide one."""
    message = record.getMessage()
    if not message.isprintable() and not record.exc_info:
        record.msg = "".join(
            c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode("ascii")
            for c in message
        )
        record.args = None
    return True
