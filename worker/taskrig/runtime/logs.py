"""Log lines for people and for collectors, on standard error.

A line of ours cannot be forged by text from a task, a call of a logger never raises into a handler,
and what a handler module does to the logging of the process does not silence the worker.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from taskrig.errors import describe
from taskrig.runtime import outlet
from taskrig.runtime.tracebacks import trace
from taskrig.texts import cut, printable

log = logging.getLogger("taskrig")

OF_TASKS = ("taskrig.task", "taskrig.handlers")  # loggers of ours whose exceptions are the user's
EXTRA_CHARS = 10_000  # of one value that a handler gave in `extra`
PATIENCE_S = 0.5  # how long a line may hold up a thread that must not wait

_PLAIN = len(vars(logging.makeLogRecord({})))  # how many attributes a record without extra has
_KNOWN = {*vars(logging.makeLogRecord({})), "message", "asctime"}
_quoted = json.encoder.encode_basestring_ascii
_FIELDS = ("time", "level", "logger", "message", "error")


class _Lines(logging.Formatter):
    """What both styles have in common."""

    def message(self, record: logging.LogRecord) -> str:
        """The message; of a wrong call all that it was given, and what is wrong."""
        try:
            text = str.__str__(record.getMessage())
        except BaseException as fault:
            given = f"{_shown(record.msg)} with {_shown(record.args)}"
            text = f"{given} (a wrong log call: {describe(fault)})"
        return text

    def error(self, record: logging.LogRecord) -> str:
        """Its traceback in lines; "" without one. An error of our own has all its frames."""
        fault = _fault(record)
        text = record.exc_text or ""
        if fault is not None and self._is_own(record):
            text = "".join(traceback.format_exception(fault))
        elif fault is not None:
            text = trace(fault).text or describe(fault)
        return f"{text}\n{record.stack_info}".strip("\n") if record.stack_info else text

    @staticmethod
    def _is_own(record: logging.LogRecord) -> bool:
        return f"{record.name}.".startswith("taskrig.") and record.name not in OF_TASKS


class TextFormatter(_Lines):
    """2026-01-31 12:00:00.123 INFO    message, and below it the lines of a traceback, indented."""

    _second, _stamp = 0, ""

    def format(self, record: logging.LogRecord) -> str:
        """The record in local time; what would steer a terminal or begin a line is spelled out."""
        text = self.line(record.created, record.levelname, record.name, self.message(record))
        if _has_lines(record):
            for line in filter(None, self.error(record).split("\n")):
                text += "\n  | " + printable(line, keep="\t")
        return text

    def line(self, created: float, level: str, name: str, message: str) -> str:
        """The first line of a record, and all of one without a traceback."""
        second = int(created)
        if second != self._second:
            self._stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            self._second = second
        milliseconds = int((created - second) * 1000)
        return f"{self._stamp}.{milliseconds:03d} {level:<7} " + printable(message, keep="\t")


class JsonFormatter(_Lines):
    """One JSON object a line: time (Unix seconds), level, logger, message, error, and `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        text = self.line(record.created, record.levelname, record.name, self.message(record))[:-1]
        if _has_lines(record) and (error := self.error(record)):
            text += f', "error": {_quoted(error)}'
        if len(vars(record)) != _PLAIN:
            text += "".join(f", {_quoted(name)}: {value}" for name, value in _extra(record))
        return text + "}"

    def line(self, created: float, level: str, name: str, message: str) -> str:
        """All of a record that has no traceback and no `extra`."""
        return (
            f'{{"time": {created:.3f}, "level": {_quoted(level.lower())}, '
            f'"logger": {_quoted(name)}, "message": {_quoted(message)}}}'
        )


def _has_lines(record: logging.LogRecord) -> bool:
    return bool(record.exc_info or record.exc_text or record.stack_info)


def _fault(record: logging.LogRecord) -> BaseException | None:
    """The exception of a record, which may have been given anything for it."""
    given = record.exc_info
    fault = given[1] if isinstance(given, tuple) and len(given) == 3 else None
    return fault if issubclass(type(fault), BaseException) else None


def _extra(record: logging.LogRecord) -> Iterator[tuple[str, str]]:
    """What was given in `extra`, in JSON; a value that JSON has no form for as text."""
    for name, value in vars(record).items():
        if name in _KNOWN:
            continue
        try:
            text = json.dumps(value, ensure_ascii=True, allow_nan=False, default=_shown)
        except BaseException:
            text = _quoted(_shown(value))
        if len(text) > EXTRA_CHARS:
            text = _quoted(cut(text, EXTRA_CHARS))
        yield f"extra_{name}" if name in _FIELDS else str(name), text


def _shown(value: object) -> str:
    try:
        return cut(str.__str__(repr(value)), 500)
    except BaseException:
        return f"a {type.__dict__['__name__'].__get__(type(value))} that cannot be shown"


# -- the logging of the process ------------------------------------------------------------------

_own: _Stderr | None = None
_debug = False


class _Stderr(logging.StreamHandler[TextIO]):
    def __init__(self, form: TextFormatter | JsonFormatter) -> None:
        super().__init__(sys.stderr)
        self._form = form
        self.setFormatter(form)

    def is_plain(self) -> bool:
        """Whether it still is as we made it: users and libraries change handlers that they find."""
        return not self.filters and self.level == logging.NOTSET and self.formatter is self._form

    def write(self, created: float, message: str) -> None:
        """An INFO line of "taskrig" without a record; like `emit`, never raises."""
        self.acquire()
        try:
            self.stream.write(self._form.line(created, "INFO", "taskrig", message) + "\n")
        except Exception:  # the stream was closed
            pass
        finally:
            self.release()

    def flush(self) -> None:
        """Nothing: it writes every line at once."""


def set_up(level: str, style: str, *, debug: bool = False, whole: bool = True) -> None:
    """Log to standard error from `level` on, as "text" or "json".

    With `whole` the root logger is ours; else there is a configuration of the user's, and only what
    it would not show of us is written by ourselves. `debug`: see `for_debug`.
    """
    global _own, _debug
    _debug = debug
    unblock()
    _never_raise()
    _own = _Stderr(JsonFormatter() if style == "json" else TextFormatter())
    if whole:
        root = logging.getLogger()
        root.handlers[:] = [_own]
        root.setLevel(level.upper())
        logging.raiseExceptions = False  # a closed standard error must not end the worker
        logging.captureWarnings(True)
        threading.excepthook = _tell_of_thread
        sys.unraisablehook = _tell_of_unraisable
    if whole or log.level == logging.NOTSET:
        log.setLevel(level.upper())
    stay_seen()


def unblock() -> None:
    """Let standard output and error never block, also for handlers that were made before."""
    outlet.tell_of_losses(_tell_of_loss)
    for changed in map(outlet.unblock, ("stdout", "stderr")):
        if changed is not None:
            _point_handlers(*changed)


def stay_seen() -> None:
    """Undo what a module of handlers, or Django's LOGGING, did to our lines.

    dictConfig disables the loggers that it does not name; and where no handler would show a line of
    ours, we show it ourselves.
    """
    if _own is None:
        return
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if f"{name}.".startswith("taskrig.") and isinstance(logger, logging.Logger):
            logger.disabled = False
    level = log.getEffectiveLevel()
    probe = log.makeRecord(log.name, level, __file__, 0, "is this seen?", (), None)
    if any(_shows(handler, probe) for handler in _others()):
        log.removeHandler(_own)
    else:
        log.addHandler(_own)


def _others() -> Iterator[logging.Handler]:
    """The handlers that get the records of our logger, but for the one that is added here."""
    yield from (handler for handler in log.handlers if handler is not _own)
    logger = log.parent if log.propagate else None
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


def _shows(handler: logging.Handler, probe: logging.LogRecord) -> bool:
    if isinstance(handler, logging.NullHandler) or probe.levelno < handler.level:
        return False
    try:
        return bool(handler.filter(probe))
    except Exception:
        return False


def _point_handlers(old: Any, new: Any) -> None:
    """Let handlers that were made before write to the stream that never blocks."""
    loggers = [logging.root, *list(logging.root.manager.loggerDict.values())]
    for handler in (h for one in loggers if isinstance(one, logging.Logger) for h in one.handlers):
        if isinstance(handler, logging.StreamHandler) and handler.stream is old:
            handler.setStream(new)


def _never_raise() -> None:
    """From now on no call of a logger raises for what it was given.

    The standard library prints what goes wrong in a handler, but raises for a name in `extra` that
    a record has already, for a keyword that it does not know, for a filter that fails.
    """
    strict = logging.Logger._log
    if getattr(strict, "never_raises", False):
        return

    def _log(
        self: logging.Logger,
        level: int,
        msg: object,
        args: Any,
        exc_info: Any = None,
        extra: Any = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        **unknown: Any,
    ) -> None:
        at = stacklevel + 1
        try:
            extra = {**extra, **unknown} if extra and unknown else extra or unknown
            strict(self, level, msg, args, exc_info, extra, stack_info, at)
        except Exception as fault:
            given = ", ".join(map(_shown, (msg, *args, *filter(None, (extra, unknown)))))
            with contextlib.suppress(Exception):
                text = "%s (a wrong log call: %s)"
                strict(self, level, text, (given, describe(fault)), stacklevel=at)

    _log.never_raises = True  # type: ignore[attr-defined]
    logging.Logger._log = _log  # type: ignore[method-assign]


def _tell_of_thread(what: threading.ExceptHookArgs) -> None:
    """What a thread raised, a handler's own one mostly; else Python prints it as it is."""
    fault = what.exc_value
    if fault is not None and what.exc_type is not SystemExit:
        name = what.thread.name if what.thread is not None else "?"
        log_error(log, trace(fault).text, "in thread %s: %s", name, describe(fault))


def _tell_of_unraisable(what: Any) -> None:
    """What was raised where nobody can catch it, such as in a destructor."""
    fault = what.exc_value
    if fault is not None:
        text = what.err_msg or "ignored in"
        log_error(log, trace(fault).text, "%s %s: %s", text, _shown(what.object), describe(fault))


def _tell_of_loss(lines: int, stream: str) -> None:
    text = "%d lines for %s were dropped: nobody read it, or it could not be written"
    without_waiting(log.error, text, lines, stream)


# -- lines of ours -------------------------------------------------------------------------------

_SEE_RECORDS = (logging.Logger.callHandlers, logging.LogRecord)  # libraries put their own there


def say(text: str, *args: object) -> None:
    """Log an INFO line of "taskrig", of which there are two a task: as `log.info` does, but where
    nobody else would get to see its record, without one."""
    created = time.time()
    own = _own
    if (
        own is None
        or [*log.handlers, *(logging.root.handlers if log.propagate else ())] != [own]
        or not own.is_plain()
        or log.filters
        or (logging.Logger.callHandlers, logging.getLogRecordFactory()) != _SEE_RECORDS
    ):
        log.info(text, *args)
    elif log.isEnabledFor(logging.INFO):
        own.write(created, text % args)


def log_error(logger: logging.Logger, lines: str, text: str, *args: object) -> None:
    """Log an error with a traceback that is text already."""
    if logger.isEnabledFor(logging.ERROR):
        record = logger.makeRecord(logger.name, logging.ERROR, __file__, 0, text, args, None)
        record.exc_text = lines or None
        logger.handle(record)


def for_debug(fault: BaseException) -> BaseException | None:
    """The `exc_info` of an error of our own, whose traceback is shown with --debug only."""
    return fault if _debug else None


def without_waiting(say: Callable[..., None], *args: object) -> None:
    """Log from a thread that must not wait: a handler of the user's may block, or hold a lock."""
    thread = threading.Thread(target=say, args=args, daemon=True, name="log")
    try:
        thread.start()
    except RuntimeError:  # no more threads are to be had
        return
    thread.join(PATIENCE_S)
