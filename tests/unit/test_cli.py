"""The worker's command line: what people type, what they get, and the exit code."""

from __future__ import annotations

import http.server
import json
import logging
import os
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import taskrig
from taskrig import cli
from taskrig.cli import entry
from taskrig.cli.healthcheck import http_address
from taskrig.cli.status import _picture
from taskrig.task import DEAD_REASONS, FAILED_REASONS, REASONS


@pytest.fixture
def served(settings, monkeypatch):
    """What `worker run` would serve; the worker itself is not started here."""
    from taskrig.process import app

    configs = []

    def run_worker(config):
        configs.append(config)
        return 0

    monkeypatch.setattr(app, "run_worker", run_worker)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(logging, "raiseExceptions", True)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield configs
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    "argv", [[], ["run"], ["--max-concurrent", "3"], ["run", "--max-concurrent=3"], ["--debug"]]
)
def test_bare_worker_means_run(served, argv):
    assert cli.main(argv) == 0
    assert len(served) == 1


def test_the_users_flags_reach_the_configuration(served):
    argv = shlex.split(
        "--redis-key my_tasks --interval 2 --max-tasks 100 --max-concurrent 10 --log-level debug"
        " --log-format json --redis-url redis://h:1/2 --set worker.lease=3s --set http.port=0"
    )

    assert cli.main(argv) == 0

    [config] = served
    assert config.queue.key == "my_tasks"
    assert config.worker.interval_s == 2.0
    assert config.worker.max_tasks == 100
    assert config.worker.max_concurrent == 10
    assert (config.log.level, config.log.format) == ("debug", "json")
    assert config.redis.url == "redis://h:1/2"
    assert (config.worker.lease_s, config.http.port) == (3.0, 0)


def test_a_log_line_says_whether_a_file_or_the_defaults_serve(served, settings, capsys):
    cli.main([])
    assert "no config.yaml here: the defaults serve" in capsys.readouterr().err

    settings.write("worker: {lease: 5s}")
    cli.main([])
    assert "configured by config.yaml" in capsys.readouterr().err


def test_the_config_files_folder_is_on_the_import_path(served, settings, tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "c.yaml").write_text("worker: {lease: 5s}\n")

    cli.main(["--config", "etc/c.yaml"])

    assert sys.path[0] == str(tmp_path / "etc")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ("--max-concurrent 0", "--max-concurrent: must be at least 1 (got 0)"),
        ("--max-concurrent -1", "--max-concurrent: must be at least 1 (got -1)"),
        ("--max-concurrent 1.5", "--max-concurrent: must be a whole number (got 1.5)"),
        ("--max-concurrent ten", "--max-concurrent: must be a whole number (got ten)"),
        ("--interval 0", "--interval: must be more than 0 seconds (got 0)"),
        ("--interval nan", "--interval: must be a duration such as"),
        ("--max-tasks 0", "--max-tasks: must be at least 1 (got 0)"),
        ("--redis-url rdis://h", "--redis-url: must begin with redis://"),
        ("--config nowhere.yaml", "nowhere.yaml: no such file"),
        ("--max-concurent 3", "unknown flag --max-concurent; did you mean --max-concurrent?"),
        ("--max-conc 3", "unknown flag --max-conc"),
        ("chek", "unknown command 'chek'; did you mean check?"),
        ("run extra", "unknown argument extra"),
        ("--config x check", "the command comes first: worker check"),
        ("--max-concurrent", "argument --max-concurrent: expected one argument"),
        ("config", "show|schema"),
        ("config shw", "invalid choice"),
        ("--set x", "--set: expected NAME=VALUE"),
        ("check --max-concurrent 3", "unknown flag --max-concurrent"),
        ("status --over 2h", "argument --over: must be 0 to 3600 seconds"),
        ("top --every 50ms", "argument --every: must be 0.1 to 3600 seconds"),
        ("drain w --wait soon", "argument --wait: 'soon' is not a duration; write it like 250ms"),
        ("healthcheck --timeout -1s", "argument --timeout: "),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(served, capsys, argv, line):
    assert cli.main(shlex.split(argv)) == 2

    err = capsys.readouterr().err
    assert err.startswith("worker: ")
    assert line in err
    assert err.count("\n") == 1
    assert served == []


def test_every_problem_of_the_configuration_is_a_line(served, settings, capsys):
    settings.write("worker: {lease: 0, slots: 3}\n")

    assert cli.main(["--max-concurrent", "0"]) == 2
    assert capsys.readouterr().err == (
        "worker: config.yaml:1:10: worker.lease: must be at least 500ms (got 0)\n"
        "worker: config.yaml:1:20: worker.slots: unknown key; known are drain_timeout, interval,"
        " lease, max_concurrent, max_deliveries, max_tasks, process_slots,"
        " processes, schedule_grace\n"
        "worker: --max-concurrent: must be at least 1 (got 0)\n"
    )


def test_a_keyboard_interrupt_ends_with_130(served, monkeypatch):
    from taskrig.process import app

    def interrupted(config):
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "run_worker", interrupted)

    assert cli.main([]) == 130


def test_an_unforeseen_error_is_one_line_without_secrets(served, monkeypatch, capsys):
    from taskrig.process import app

    def broken(config):
        raise RuntimeError("redis://u:hunter2@h is odd")

    monkeypatch.setattr(app, "run_worker", broken)

    assert cli.main([]) == 1
    err = capsys.readouterr().err
    assert "\nworker: unforeseen RuntimeError: redis://***@h is odd" in err
    assert "hunter2" not in err
    assert "--debug" in err


def test_debug_shows_the_traceback(served, capsys):
    assert cli.main(["--debug", "--max-concurrent", "0"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_check_lists_handlers_with_module_and_timeout(settings, capsys):
    settings.write("tasks: {fast_task: {timeout: 7s}, fast_tusk: {}}\n")

    assert cli.main(["check"]) == 0

    out = capsys.readouterr().out
    assert re.search(r"fast_task +timeout 7s +taskrig\.handlers\.demo\.", out)
    assert re.search(r"email +timeout 30s +taskrig\.handlers\.email\.", out)
    assert "tasks.fast_tusk: no handler has this type; did you mean fast_task?" in out


def test_check_shows_every_setting_of_a_type_that_is_not_the_usual_one(settings, capsys):
    settings.write(
        "handlers: [tests.support.any_type, tests.support.author_handlers]\n"
        "tasks:\n"
        "  limited: {retries: 5, backoff: 2s, backoff_max: 10m, expires: 1h, concurrency: 4,\n"
        "    max_concurrent_total: 10, rate_limit: 5/10s, unique: yes}\n"
        "  flaky: {timeout: 3s}\n"
        "  named: {timeout: 4s, rate_limit: 7/m}\n"
        "  says: {retries: 0, backoff: 1s, unique: no}\n"
        "schedule:\n"
        '  - \'nightly 0 3 * * * Europe/Berlin {"type": "says"}\'\n'
    )
    assert cli.main(["check"]) == 0
    out = capsys.readouterr().out
    assert re.search(
        r"^  limited +no timeout +\S+, in the event loop\n"
        r" +retries 5, backoff 2s, backoff_max 10m, expires 1h, "
        r"concurrency 4, max_concurrent_total 10, rate_limit 5/10s, unique yes$",
        out,
        re.M,
    )
    assert re.search(
        r"^  flaky +timeout 3s +\S+, in the event loop\n +retries 3, backoff 200ms$", out, re.M
    )
    assert re.search(r"^  says +no timeout +\S+, in the event loop\n  \w", out, re.M), (
        "nothing more to say of it"
    )
    assert "tests.support.any_type.any_type takes it with timeout 4s, rate_limit 7/m" in out
    assert 'nightly 0 3 * * * Europe/Berlin {"type": "says"}' in out
    assert re.search(r"^    next: \d{4}-\d\d-\d\d 0[12]:00:00 UTC$", out, re.M)


def test_check_finds_a_module_beside_the_config_file(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "mine_for_check.py").write_text("async def async_handle(data): ...\n")
    (tmp_path / "etc" / "c.yaml").write_text("handlers: mine_for_check:async_handle\n")

    done = worker("check --config etc/c.yaml", tmp_path)

    assert done.returncode == 0, done.stderr
    assert "mine_for_check.async_handle" in done.stdout


def test_check_says_what_is_wrong_with_a_handler_module(settings, capsys):
    assert cli.main(["check", "--set", "handlers=nowhere.tasks"]) == 2
    assert "nowhere.tasks" in capsys.readouterr().err


def test_config_show_names_origins_and_masks_secrets(settings, capsys, monkeypatch):
    settings.write("worker: {lease: 20s}\nredis: {password: hunter2}\n")
    monkeypatch.setenv("TASKRIG_HTTP__PORT", "9999")

    assert cli.main(["config", "show", "--origin", "--redis-key", "q"]) == 0

    out = capsys.readouterr().out
    assert re.search(r"^  lease: 20s +# config.yaml:1$", out, re.M)
    assert re.search(r'^  password: "\*{8}" +# config.yaml:2$', out, re.M)
    assert re.search(r"^  port: 9999 +# environment TASKRIG_HTTP__PORT$", out, re.M)
    assert re.search(r"^  key: q +# flag --redis-key$", out, re.M)
    assert "hunter2" not in out


def test_config_schema_is_json(settings, capsys):
    assert cli.main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "object"


@pytest.mark.parametrize("argv", [["version"], ["--version"]])
def test_the_version_is_printed(capsys, argv):
    assert cli.main(argv) == 0
    assert re.match(r"taskrig \d+\.\d+\.\d+ \(Python 3\.\d+", capsys.readouterr().out)


COMMANDS = ["run", "check", "config", "config show", "config schema", "healthcheck", "version"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_that_parses(served, capsys, command):
    assert cli.main([*command.split(), "--help"]) == 0

    text = capsys.readouterr().out
    examples = re.findall(r"^  worker(?: (.*?))?(?:  +.*)?$", text.partition("example")[2], re.M)
    assert examples
    for example in examples:
        words = shlex.split(example.partition(">")[0])
        entry.parse(entry.build_parser(), words, default="run")


def test_dead_letters_can_be_filtered_by_every_reason_that_the_worker_gives():
    package = Path(taskrig.__file__).parent
    sources = [*package.rglob("*.py"), *package.rglob("*.lua")]
    given = re.compile(r"""(?:\bfail|\bFailed|\bDead|\bInvalid)\("(\w+)"|\breason = '(\w+)'""")
    found = {a or b for path in sources for a, b in given.findall(path.read_text())}
    assert {"error", "poison", "duplicate", "not_json"} < found
    assert found <= {*FAILED_REASONS, *DEAD_REASONS, *REASONS}


@pytest.mark.parametrize(("text", "value"), [("2", 2.0), ("500ms", 0.5), ("1m30s", 90.0)])
def test_a_flag_that_is_a_duration_takes_units(text, value):
    for words in (["status", "--over"], ["top", "--every"], ["cancel", "w:1", "--wait"]):
        args = entry.parse(entry.build_parser(), [*words, text], default="run")
        assert value in vars(args).values()


def test_every_command_but_the_group_takes_the_config_flags(served):
    for command in COMMANDS:
        if command != "config":
            words = [
                *command.split(),
                "--config",
                "c",
                "--redis-url",
                "redis://h",
                "--redis-key",
                "k",
                "--set",
                "a=b",
                "--set",
                "c=d",
                "--debug",
            ]
            args = entry.parse(entry.build_parser(), words, default="run")
            assert args.config_sets == ["a=b", "c=d"]


class Probe(http.server.BaseHTTPRequestHandler):
    """Alive, but not ready."""

    def do_GET(self):
        self.send_response(200 if self.path == "/livez" else 503)
        self.end_headers()
        self.wfile.write(b"said " + self.path.encode() + b"\n")

    def log_message(self, *args):
        pass


@pytest.fixture
def port():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Probe) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_healthcheck_asks_the_configured_port(settings, capsys, monkeypatch, port):
    settings.write(f"http: {{host: 0.0.0.0, port: {port}}}\n")
    assert cli.main(["healthcheck"]) == 0
    assert cli.main(["healthcheck", "--ready"]) == 1
    assert capsys.readouterr().out == "/livez 200: said /livez\n/readyz 503: said /readyz\n"

    monkeypatch.setenv("TASKRIG_HTTP__PORT", "1")
    assert cli.main(["healthcheck"]) == 1
    assert cli.main(["healthcheck", "--set", f"http.port={port}"]) == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http: {port: 0}", "the worker picked one"),
        ("http: {port: x}", "must be a whole number"),
        ("http: {enabled: false}", "there is nothing to ask"),
        ("http: [", "config.yaml:1:8: "),
        ("http: 5", "config.yaml:1:1: http: must hold keys of its own"),
        ("http: {host: [a]}", "http.host must be text"),
        ("http: {host: 'a..b'}", "no answer from a..b:9464/livez"),
        ("http: {port: 1}", "no answer from 127.0.0.1:1/livez"),
    ],
)
def test_healthcheck_says_why_not_and_exits_1(settings, capsys, text, says):
    settings.write(text)

    assert cli.main(["healthcheck"]) == 1
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("written", ["http=abc", "http=5", "http=[1]"])
def test_healthcheck_refuses_a_section_that_is_a_value(settings, capsys, written):
    assert cli.main(["healthcheck", "--set", written]) == 1
    assert capsys.readouterr().err.startswith("worker: --set http: must hold keys of its own")


def worker(arguments, folder, **env):
    """Run `python -m taskrig` for real."""
    root = str(cli.__path__[0]).removesuffix("/worker/taskrig/cli")
    return subprocess.run(
        [sys.executable, "-m", "taskrig", *shlex.split(arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root, **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_python_m_worker_is_the_same_command(tmp_path):
    done = worker("--max-concurrent 0", tmp_path)

    assert (done.returncode, done.stderr) == (
        2,
        "worker: --max-concurrent: must be at least 1 (got 0)\n",
    )


def test_healthcheck_imports_neither_pydantic_nor_redis(tmp_path):
    code = (
        "import sys; from taskrig.cli import main; main(['healthcheck', '--timeout', '0.1']);"
        "print(sorted({name.partition('.')[0] for name in sys.modules}"
        " & {'pydantic', 'yaml', 'redis', 'msgspec', 'prometheus_client', 'asyncio'}))"
    )
    root = str(cli.__path__[0]).removesuffix("/worker/taskrig/cli")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root, "TASKRIG_HTTP__PORT": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("listens_on", "asked"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("'::'", "::1"),
        ("10.0.0.7", "10.0.0.7"),
        ("null", "127.0.0.1"),
        ("'[::]'", "::1"),
        ("'[fe80::7]'", "fe80::7"),
    ],
)
def test_healthcheck_asks_this_machine_where_the_worker_listens_everywhere(
    settings, listens_on, asked
):
    file = settings.write(f"http: {{host: {listens_on}, port: 9465}}")

    assert http_address(file, {}, []) == (asked, 9465)


@pytest.mark.parametrize(
    "words", [["pause", "--why", "a\udcffb"], ["dead", "list", "--type", "\udcff"]]
)
def test_arguments_that_are_not_utf_8_are_one_line_and_exit_2(capsys, words):
    assert cli.main(words) == 2
    _, err = capsys.readouterr()
    assert "must be UTF-8" in err and len(err.splitlines()) == 1


def test_a_live_picture_fits_the_terminal_and_says_how_much_it_leaves_out():
    picture = _picture([f"line {n} {'x' * 100}" for n in range(30)], os.terminal_size((40, 10)))
    lines = re.sub(r"\x1b\[[HKJ]", "", picture).splitlines()
    assert len(lines) == 9 and max(map(len, lines)) == 40
    assert lines[-1] == "  ... 22 lines more"
    assert "lines more" not in _picture(["one", "two"], os.terminal_size((40, 10)))
