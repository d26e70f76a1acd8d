"""Log lines: not to be forged, not to be silenced, and never raising into a handler."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import re
import sys
import threading
import warnings

import pytest

from taskrig.authoring.context import _Bound
from taskrig.engine.events import Events
from taskrig.runtime import logs
from taskrig.runtime.logs import say, set_up, stay_seen

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [A-Z]+ +")
EVIL = "x\n2026-01-01 00:00:00.000 ERROR   forged"
theirs = logging.getLogger("tests.some_handlers")


@pytest.fixture
def written(monkeypatch):
    """Set the logging of this process up, as text or json; gives what was written since."""
    root = logging.getLogger()
    kept = (root.handlers[:], root.level, logging.raiseExceptions, logging.Logger._log)
    hooks = threading.excepthook, sys.unraisablehook
    levels = {
        name: (one.level, one.disabled, one.handlers[:], one.propagate)
        for name, one in root.manager.loggerDict.items()
        if isinstance(one, logging.Logger)
    }

    def begin(style="text", **options):
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        set_up("info", style, **options)
        return lambda: stream.getvalue()

    yield begin
    root.handlers[:], root.level, logging.raiseExceptions, logging.Logger._log = kept
    logs._own = None
    logging.captureWarnings(False)
    threading.excepthook, sys.unraisablehook = hooks
    for name, one in root.manager.loggerDict.items():
        if isinstance(one, logging.Logger):
            level, one.disabled, one.handlers[:], one.propagate = levels.get(
                name, (0, False, [], True)
            )
            one.setLevel(level)


def fail(text):
    try:
        raise ValueError(text)
    except ValueError:
        theirs.exception(text)


EVILS = [
    "\n",
    "\r",
    "\r\n",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x1d",
    "\x1e",
    "\x85",
    "\u2028",
    "\u2029",
    "\x1b[2K\x1b[1G",
    "\x9b2K",
    "\x08",
    "\u202e",
    "\u2066",
    "\ud800",
    "\x00",
]


@pytest.mark.parametrize("evil", EVILS, ids=ascii)
def test_no_text_of_a_task_makes_a_line_that_looks_like_one_of_ours(written, evil):
    text = written()
    message = f"x{evil}2026-01-01 00:00:00.000 ERROR   forged"
    theirs.error(message)
    theirs.error("%s", message)
    fail(message)
    theirs.error("with a stack", stack_info=True)
    lines = text().split("\n")[:-1]
    assert sum(bool(LINE.match(line)) for line in lines) == 4
    assert all(LINE.match(line) or line.startswith("  | ") for line in lines)
    assert all(line.isprintable() for line in lines)


def test_the_traceback_of_a_handlers_own_log_line_is_shown_under_it(written):
    text = written()
    fail("plain")
    first, second, *_, last = text().splitlines()
    assert first.endswith("ERROR   plain")
    assert second == "  | Traceback (most recent call last):"
    assert last == "  | ValueError: plain"


class Strange:
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class Fails(logging.Filter):
    def filter(self, record):
        raise RuntimeError("a filter of the user's")


WRONG = {
    "arguments that do not fit": lambda: theirs.info("%d items", "three"),
    "too few": lambda: theirs.info("%s and %s", 1),
    "too many": lambda: theirs.info("none", 1, 2),
    "a key that is not there": lambda: theirs.info("%(a)s", {"b": 1}),
    "an odd character": lambda: theirs.info("100% sure", 1),
    "no text": lambda: theirs.info(Strange()),
    "an argument without text": lambda: theirs.info("%s", Strange()),
    "a name that records have": lambda: theirs.info("made", extra={"name": "x", "message": 1}),
    "extra that is no dict": lambda: theirs.info("made", extra="x"),
    "a keyword of another library": lambda: theirs.info("made", to="x@example.com"),
    "exc_info of another form": lambda: theirs.error("made", exc_info=(1, 2)),
    "exc_info of other types": lambda: theirs.error("made", exc_info=(1, 2, 3)),
    "a level that is a word": lambda: theirs.log("INFO", "made"),
    "a task's own logger": lambda: _Bound(theirs, {"tag": "w:1", "type": "%d"}).info(Strange()),
    "... with a name that records have": lambda: _Bound(theirs, {"tag": "w:1", "type": "t"}).info(
        "made", extra={"args": 1}
    ),
    "... with extra that is no dict": lambda: _Bound(theirs, {"tag": "w:1", "type": "t"}).info(
        "made", extra=[1]
    ),
    "... with a level that is a word": lambda: _Bound(theirs, {"tag": "w:1", "type": "t"}).log(
        "INFO", "made"
    ),
}


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_a_wrong_log_call_does_not_raise_and_is_seen(written, style, call):
    text = written(style)
    call()
    lines = text().splitlines()
    assert len(lines) == (0 if call is WRONG["a level that is a word"] else 1)


def test_a_wrong_log_call_shows_what_it_was_given_and_what_is_wrong(written):
    text = written()
    theirs.info("%d items", "three")
    assert "'%d items' with ('three',) (a wrong log call: TypeError" in text()


def test_a_filter_that_fails_does_not_raise_into_a_handler(written):
    written()
    one = Fails()
    theirs.addFilter(one)
    try:
        theirs.info("made")
    finally:
        theirs.removeFilter(one)


def test_json_lines_keep_extra_whatever_is_in_it(written):
    text = written("json")
    loop = []
    loop.append(loop)
    theirs.info(
        "made",
        extra={
            "order": 7,
            "parts": {"a": [1, None, True]},
            "nan": float("nan"),
            "set": {1},
            "odd": Strange(),
            "keys": {(1, 2): 3},
            "loop": loop,
            "long": "x" * 50_000,
            "level": "mine",
            "evil": EVIL,
            "number": 10**5000,
        },
    )
    (line,) = text().splitlines()
    assert len(line) < 30_000
    found = json.loads(line, parse_constant=pytest.fail)
    assert (found["order"], found["parts"]) == (7, {"a": [1, None, True]})
    assert (found["level"], found["extra_level"]) == ("info", "mine")
    assert (found["nan"], found["set"], found["evil"]) == ("nan", "{1}", EVIL)
    assert "cannot be shown" in found["odd"] and len(found["long"]) <= 10_000
    assert {"keys", "loop", "number"} <= found.keys()


def test_a_tasks_own_logger_keeps_extra_beside_tag_and_type(written):
    text = written("json")
    _Bound(theirs, {"tag": "w:1", "type": "email"}).info("sent", extra={"to": "x"})
    found = json.loads(text())
    assert (found["tag"], found["type"], found["to"]) == ("w:1", "email", "x")
    assert found["message"] == "w:1 (email): sent"


def test_a_type_in_front_of_a_line_cannot_forge_one_under_anybodys_formatter(written):
    text = written()
    logging.getLogger().handlers[0].setFormatter(logging.Formatter("%(filename)s %(message)s"))
    _Bound(theirs, {"tag": "w:1", "type": "100% " + EVIL}).info("sent %d", 1)
    assert text() == "test_logs.py w:1 (100% " + EVIL.replace("\n", "\\n") + "): sent 1\n"


def test_json_lines_keep_a_traceback_and_are_one_line(written):
    text = written("json")
    fail("plain\nforged")
    found = json.loads(text())
    assert found["error"].endswith("ValueError: plain forged")
    assert "test_logs.py" in found["error"]


CONFIGURATIONS = {
    "of loggers only": {"version": 1, "loggers": {"tests": {"level": "INFO"}}},
    "of a root that shows warnings": {
        "version": 1,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"level": "WARNING", "handlers": ["console"]},
    },
    "of a handler for errors only": {
        "version": 1,
        "handlers": {"console": {"class": "logging.StreamHandler", "level": "ERROR"}},
        "root": {"level": "INFO", "handlers": ["console"]},
    },
    "of a handler that is off": {
        "version": 1,
        "filters": {"off": {"()": "django.utils.log.RequireDebugTrue"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "filters": ["off"]}},
        "root": {"level": "INFO", "handlers": ["console"]},
    },
    "of nothing": {"version": 1},
    "of a root without handlers": {"version": 1, "root": {"handlers": []}},
    "of a root that shows nothing": {
        "version": 1,
        "handlers": {"none": {"class": "logging.NullHandler"}},
        "root": {"handlers": ["none"]},
    },
}


@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_a_configuration_made_by_a_handler_module_does_not_silence_us(written, configuration):
    if "filters" in configuration:
        pytest.importorskip("django")
        configuration = {**configuration, "filters": {"off": {"()": lambda: lambda record: False}}}
    text = written()
    logging.config.dictConfig(configuration)
    stay_seen()
    for name in ("taskrig", "taskrig.task", "taskrig.broker"):
        logging.getLogger(name).info("line of %s", name)
        assert text().count(f"line of {name}\n") == 1


def test_a_handler_module_that_shows_our_lines_itself_shows_them_once(written):
    text = written()
    console = {"class": "logging.StreamHandler", "formatter": "short"}
    logging.config.dictConfig(
        {
            "version": 1,
            "handlers": {"console": console},
            "root": {"handlers": ["console"]},
            "formatters": {"short": {"format": "theirs: %(message)s"}},
        }
    )
    stay_seen()
    logging.getLogger("taskrig").info("a line")
    assert text() == "theirs: a line\n"


def test_a_level_that_the_user_names_for_our_logger_holds(written):
    text = written(whole=False)
    logging.config.dictConfig(
        {
            "version": 1,
            "loggers": {"taskrig": {"level": "ERROR"}},
            "root": {"level": "INFO", "handlers": ["console"]},
            "handlers": {"console": {"class": "logging.StreamHandler"}},
        }
    )
    stay_seen()
    logging.getLogger("taskrig").warning("not this")
    logging.getLogger("taskrig").error("but this")
    assert text() == "but this\n"


@pytest.mark.parametrize("debug", [False, True])
def test_our_own_tracebacks_are_shown_with_debug_only(written, debug):
    text = written(debug=debug)
    try:
        Events.redis_away(None, "x")  # a fault of our own
    except AttributeError as fault:
        logging.getLogger("taskrig").critical("the worker broke", exc_info=logs.for_debug(fault))
    assert ("events.py" in text()) is debug


def test_what_threads_warnings_and_destructors_say_is_a_log_line_too(written):
    text = written("json")

    def body():
        raise ValueError(EVIL)

    thread = threading.Thread(target=body, name="theirs")
    thread.start()
    thread.join()

    class Falls:
        def __del__(self):
            raise ValueError(EVIL)

    Falls()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(EVIL, stacklevel=1)
    first, second, third = map(json.loads, text().splitlines())
    assert first["message"].startswith("in thread theirs: ValueError: x 2026")
    assert "in body" in first["error"]
    assert "__del__" in second["message"] and "in __del__" in second["error"]
    assert (third["logger"], EVIL in third["message"]) == ("py.warnings", True)


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_line_without_a_record_is_the_line_that_a_record_makes(written, style, monkeypatch):
    text = written(style)
    monkeypatch.setattr("time.time", lambda: 1767225600.98765)
    say("task %d started, handling %s", 7, EVIL)
    logs.log.info("task %d started, handling %s", 7, EVIL)
    first, second = text().splitlines()
    assert re.sub(r"[\d:.-]+", "0", first) == re.sub(r"[\d:.-]+", "0", second)
    assert ".98" in first


class Listener(logging.Handler):
    def __init__(self):
        super().__init__()
        self.seen = []

    def emit(self, record):
        self.seen.append(record.getMessage())


def on_the_root(seen, monkeypatch):
    logging.getLogger().addHandler(seen)


def on_ours(seen, monkeypatch):
    logging.getLogger("taskrig").addHandler(seen)


def as_a_filter_of_ours(seen, monkeypatch):
    monkeypatch.setattr(logs.log, "filters", [seen.handle])


def as_a_filter_of_the_roots_handler(seen, monkeypatch):
    logging.getLogger().handlers[0].addFilter(seen.handle)


def as_a_form_of_the_roots_handler(seen, monkeypatch):
    form = logging.Formatter()
    monkeypatch.setattr(form, "format", lambda record: seen.seen.append(record.getMessage()) or "")
    logging.getLogger().handlers[0].setFormatter(form)


def as_a_record_factory(seen, monkeypatch):
    def make(*args, **kwargs):
        record = logging.LogRecord(*args, **kwargs)
        seen.seen.append(record.getMessage())
        return record

    monkeypatch.setattr(logging, "_logRecordFactory", make)


def in_place_of_a_method_as_error_trackers_do(seen, monkeypatch):
    monkeypatch.setattr(logging.Logger, "callHandlers", lambda self, record: seen.emit(record))


LISTENING = [
    on_the_root,
    on_ours,
    as_a_filter_of_ours,
    as_a_filter_of_the_roots_handler,
    as_a_form_of_the_roots_handler,
    as_a_record_factory,
    in_place_of_a_method_as_error_trackers_do,
]


@pytest.mark.parametrize("listen", LISTENING)
def test_whoever_listens_to_our_logger_gets_every_line_as_a_record(written, monkeypatch, listen):
    written()
    seen = Listener()
    listen(seen, monkeypatch)
    say("task %d started", 7)
    assert seen.seen == ["task 7 started"]


@pytest.mark.parametrize("quiet", ["level", "disable", "handler", "propagate"])
def test_whoever_wants_no_lines_gets_none(written, monkeypatch, quiet):
    text = written()
    if quiet == "level":
        logs.log.setLevel("WARNING")
    elif quiet == "disable":
        monkeypatch.setattr(logging.root.manager, "disable", logging.INFO)
        logs.log._cache.clear()
    elif quiet == "handler":
        logging.getLogger().handlers[0].setLevel("WARNING")
    else:
        monkeypatch.setattr(logs.log, "propagate", False)
        monkeypatch.setattr(logging, "lastResort", None)
    say("task %d started", 7)
    logs.log._cache.clear()
    assert text() == ""


def test_a_closed_standard_error_does_not_raise_into_the_run_loop(written):
    written()
    sys.stderr.close()
    say("task %d started", 7)
