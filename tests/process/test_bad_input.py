"""What cannot work is said in one clear line, with the documented exit code and no traceback."""

from __future__ import annotations

import socket

import pytest
import yaml

from taskrig.cli import main
from tests.support.processes import run_to_end
from tests.support.servers import free_port

USAGE, UNREACHABLE = 2, 3
HANDLERS = "tests.support.handlers"


def clear(code, said, lines=12):
    """Exit code and text, checked to be something that a person can use."""
    assert "Traceback" not in said, said
    assert len(said.strip().splitlines()) <= lines, said
    assert said.strip(), "it says nothing"
    return code, said


@pytest.fixture
def worker_says(tmp_path):
    """Run the real command to its end; its exit code and what it said."""

    def run(*args, config=None):
        if config is not None:
            (tmp_path / "config.yaml").write_text(config)
            args = ("--config", str(tmp_path / "config.yaml"), *args)
        done = run_to_end("worker", "run", *args, cwd=tmp_path)
        return clear(done.returncode, done.stdout + done.stderr)

    return run


@pytest.fixture
def command_says(tmp_path, monkeypatch, capsys):
    """The same inside this process, for what ends before anything is started: in milliseconds."""
    monkeypatch.chdir(tmp_path)

    def run(*args, config=None):
        if config is not None:
            (tmp_path / "config.yaml").write_text(config)
            args = ("--config", str(tmp_path / "config.yaml"), *args)
        code = main(["run", *args])
        out, err = capsys.readouterr()
        return clear(code, out + err)

    return run


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *(("--max-concurrent", bad) for bad in ("0", "-1", "1.5", "ten", "", "1e9")),
        *(("--interval", bad) for bad in ("0", "-1", "soon", "nan", "inf")),
        *(("--max-tasks", bad) for bad in ("0", "-3", "2.5", "many")),
        ("--redis-key", ""),
        ("--log-level", "loud"),
        ("--log-format", "xml"),
        ("--set", "worker.max_concurent=5"),
        ("--set", "worker.max_concurrent"),
        ("--set", "http.port=70000"),
        ("--set", "http.port=-1"),
        ("--set", "http.port=abc"),
        ("--set", "worker.lease=0"),
        ("--no-such-flag", "1"),
    ],
)
def test_a_bad_flag_is_named_with_exit_2(command_says, flag, value):
    code, said = command_says(f"{flag}={value}")
    assert code == USAGE, said
    name = value.partition("=")[0].rpartition(".")[2] if flag == "--set" else flag.lstrip("-")
    assert name.replace("-", "_") in said.replace("-", "_"), said


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("worker: {max_concurrent: -3}\n", "config.yaml:1:"),
        ("worker:\n  max_concurent: 3\n", "max_concurrent"),
        (
            "worker: {max_concurrent: 1}\nworker: {max_concurrent: 2}\n",
            "worker: appears twice (first on line 1)",
        ),
        ("- a\n- list\n", "config.yaml:1:1: must hold keys at the top (worker: ...), not a list"),
        ("worker:\n\tmax_concurrent: 3\n", "config.yaml:2"),
        ("worker: {lease: [1]}\n", "lease"),
        ("queue: {key: true}\n", "quote"),
        ("queue: {key: 12}\n", "quote"),
        ("a: !!python/object:os.system {}\n", "config.yaml:1"),
        ("worker: {max_concurrent: 5\n", "config.yaml:2:1: is not YAML here"),
        ("just words\n", "not a single value"),
    ],
)
def test_a_broken_config_says_where_with_exit_2(command_says, config, says):
    code, said = command_says(config=config)
    assert code == USAGE, said
    assert says in said


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("handlers: [no_such_module_anywhere]\n", "no_such_module_anywhere"),
        ("handlers: ['json']\n", "no handler"),
        ("handlers: ['json:no_such_function']\n", "no_such_function"),
        ("handlers: []\n", "handlers"),
    ],
)
def test_handlers_that_are_not_there_are_named_with_exit_2(worker_says, config, says):
    code, said = worker_says(config=config)
    assert code == USAGE, said
    assert says in said


def test_all_problems_of_a_config_are_said_at_once(command_says):
    code, said = command_says(
        config="worker:\n  max_concurrent: 0\n  intervall: 1\nhttp: {port: x}\nqeue: {}\n"
    )
    assert code == USAGE
    for place in ("config.yaml:2:", "config.yaml:3:", "config.yaml:4:", "config.yaml:5:"):
        assert place in said


def test_a_named_config_file_that_is_missing_or_a_folder_is_an_error(command_says, tmp_path):
    for path in (tmp_path / "missing.yaml", tmp_path):
        code, said = command_says("--config", str(path))
        assert code == USAGE
        assert str(path) in said


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import nothing_of_that_name\n", "nothing_of_that_name"),
        ("def broken(:\n", "SyntaxError"),
        ("raise RuntimeError('at import')\n", "at import"),
        ("x = 1\n", "no handler"),
        (
            "from taskrig import handler\n"
            "@handler('twice')\nasync def one(data): pass\n"
            "@handler('twice')\nasync def two(data): pass\n",
            "twice",
        ),
    ],
)
def test_a_handler_module_that_cannot_serve_is_named_with_exit_2(
    worker_says, tmp_path, source, says
):
    (tmp_path / "mytasks.py").write_text(source)
    code, said = worker_says(config="handlers: [mytasks]\n")
    assert code == USAGE, said
    assert "mytasks" in said
    assert says in said


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:6379",
        "localhost:6379",
        "redis://localhost:abc/0",
        "redis://localhost:6379/abc",
        "redis://localhost:99999/0",
        "redis//localhost",
        "",
    ],
)
def test_a_redis_url_with_a_typo_is_a_usage_error(command_says, url):
    code, said = command_says(f"--redis-url={url}")
    assert code == USAGE, said


def test_a_redis_that_nobody_serves_is_waited_for_and_then_exit_3(worker_says):
    port = free_port()
    code, said = worker_says(
        f"--redis-url=redis://user:hush-hush@127.0.0.1:{port}/0",
        "--set=redis.connect_timeout=500ms",
        "--set=http.port=0",
    )
    assert code == UNREACHABLE, said
    assert f"127.0.0.1:{port}" in said
    assert "hush-hush" not in said


def test_a_wrong_password_is_exit_3_at_once_and_never_shown(worker_says, server):
    own = server(password="right")
    for login in (":wrong-secret@", "nobody:wrong-secret@", ""):
        code, said = worker_says(
            f"--redis-url=redis://{login}127.0.0.1:{own.port}/0",
            "--set=redis.connect_timeout=60s",
            "--set=http.port=0",
        )
        assert code == UNREACHABLE, said
        assert "wrong-secret" not in said
        assert "password" in said.lower() or "auth" in said.lower()


def test_a_database_that_does_not_exist_is_exit_3_at_once(worker_says, server):
    own = server()
    code, said = worker_says(
        f"--redis-url=redis://127.0.0.1:{own.port}/4000",
        "--set=redis.connect_timeout=60s",
        "--set=http.port=0",
    )
    assert code == UNREACHABLE, said
    assert "4000" in said


@pytest.mark.parametrize("kind", ["string", "hash", "stream", "set"])
def test_a_queue_key_of_a_wrong_type_is_named_with_exit_2(
    worker_says, redis_client, redis_url, kind
):
    make = {
        "string": lambda key: redis_client.set(key, "x"),
        "hash": lambda key: redis_client.hset(key, "a", "b"),
        "stream": lambda key: redis_client.xadd(key, {"a": "b"}),
        "set": lambda key: redis_client.sadd(key, "a"),
    }
    make[kind]("async_tasks")
    code, said = worker_says(f"--redis-url={redis_url}", "--set=http.port=0")
    assert code == USAGE, said
    assert "async_tasks" in said
    assert kind in said
    assert redis_client.exists("async_tasks")


def test_one_of_our_own_keys_of_a_wrong_type_is_named_with_exit_2(
    worker_says, redis_client, redis_url
):
    redis_client.set("{async_tasks}:inflight", "x")
    code, said = worker_says(f"--redis-url={redis_url}", "--set=http.port=0")
    assert code == USAGE, said
    assert "{async_tasks}:inflight" in said


def test_a_newer_format_on_the_server_is_refused_with_exit_2(worker_says, redis_client, redis_url):
    redis_client.set("{async_tasks}:version", "999")
    code, said = worker_says(f"--redis-url={redis_url}", "--set=http.port=0")
    assert code == USAGE, said
    assert "999" in said


def test_a_taken_metrics_port_is_named_with_exit_2(worker_says, redis_url):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        code, said = worker_says(f"--redis-url={redis_url}", f"--set=http.port={port}")
    assert code == USAGE, said
    assert f"127.0.0.1:{port}" in said


def test_check_lists_the_handlers_and_touches_nothing(tmp_path):
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(
            {"redis": {"url": f"redis://127.0.0.1:{free_port()}"}, "handlers": [HANDLERS]}
        )
    )
    done = run_to_end("worker", "check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "brief_thread" in done.stdout


def test_no_config_at_all_is_fine_and_says_so_in_one_line(world):
    worker = world.start_worker()  # with a file: the same run must not complain
    assert worker.drain() == 0
    done = run_to_end("worker", "check", cwd=world.folder)
    assert done.returncode == 0, done.stderr
    assert "email" in done.stdout
