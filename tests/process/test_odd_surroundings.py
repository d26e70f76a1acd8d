"""Commands in bare surroundings: no home folder, no standard files, IPv6 only."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from benchmarks.peers.environments import cache_folder
from taskrig.errors import UsageError
from tests.support.processes import MODULES, ROOT, run_to_end
from tests.support.servers import free_port
from tests.support.waiting import until

# A user id that has no name, as containers are run with.
NOBODY = """
import pwd, sys
def unknown(*_): raise KeyError("no such user")
pwd.getpwuid = pwd.getpwnam = unknown
from {0} import main
sys.exit(main())
"""

MAINS = {
    "worker": "taskrig.cli",
    "loadgen": "taskrig_loadgen.cli",
    "benchmarks": "benchmarks.__main__",
}


def run_as_nobody(program, *words, cwd, **env):
    """Run a command with no environment but `env`."""
    return subprocess.run(
        [sys.executable, "-c", NOBODY.format(MAINS[program]), *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), **env},
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def read_only(tmp_path):
    """A folder that nobody may write to (but root, who is not kept from it)."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"HOME": "/nonexistent", "XDG_CACHE_HOME": "", "LANG": "C"},
        {"PATH": "", "TERM": "nothing", "COLUMNS": "x", "TZ": "Nowhere/At_All", "LC_ALL": "xx_YY"},
    ],
    ids=str,
)
def test_commands_work_without_a_home_a_user_name_and_an_environment(world, read_only, env):
    redis = ["--redis-url", world.url]
    for module, words in (
        ("loadgen", ["--help"]),
        ("loadgen", ["--mix", "noop=2", "--no-follow", *redis]),
        ("loadgen", ["monitor", "--once", *redis]),
        ("worker", ["pause", "--type", "a", *redis]),
        ("worker", ["run", "--max-tasks", "2", "--set", "http.port=0", *redis]),
    ):
        done = run_as_nobody(module, *words, cwd=read_only, **env)
        assert done.returncode == 0, (module, words, done.stderr)
    assert world.totals()["succeeded"] == 2


def test_comparing_with_peers_without_a_home_says_what_to_give(tmp_path):
    done = run_as_nobody("benchmarks", "peers", "--only", "rq", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "benchmarks: there is no home folder for the environments; give --cache\n"


def test_a_cache_folder_that_is_not_absolute_is_not_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for named in ("", "cache", "./x"):
        monkeypatch.setenv("XDG_CACHE_HOME", named)
        assert cache_folder() == tmp_path / ".cache" / "taskrig" / "peers"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(UsageError, match="give --cache"):
        cache_folder()


def test_where_peers_cannot_write_their_result_it_is_said_before_they_run(tmp_path):
    (tmp_path / "results").write_text("a file")
    done = run_to_end("benchmarks", "peers", "--only", "rq", "--cache", str(tmp_path), cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "results" in done.stderr


@pytest.mark.parametrize("closed", ["<&-", "<&- >&- 2>&-"])
def test_commands_work_with_closed_standard_files(world, closed):
    command = f'exec "$0" -m "$@" --redis-url {world.url} {closed}'
    for words in (
        [MODULES["loadgen"], "--mix", "noop=2", "--no-follow"],
        [MODULES["worker"], "run", "--max-tasks", "2", "--set", "http.port=0"],
    ):
        done = subprocess.run(
            ["sh", "-c", command, sys.executable, *words],
            cwd=world.folder,
            timeout=30,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
        )
        assert done.returncode == 0, (words, done.stderr)
    assert world.totals()["succeeded"] == 2


# -- IPv6 --------------------------------------------------------------------------------------


def _has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")


@needs_ipv6
@pytest.mark.parametrize(
    ("host", "processes"),
    [("::", "1"), ("::", "2"), ("::1", "1"), ("[::]", "1"), ("localhost", "2")],
)
def test_a_worker_listens_on_any_address_and_says_it_as_in_a_url(world, host, processes):
    worker = world.start_worker(
        None, "--set", f"http.host={host}", "--processes", processes, wait=False
    )
    shown = host if host == "localhost" else f"[{host.strip('[]')}]"
    worker.logged(f"on {shown}:{worker.http_port}", 20)
    flags = ["--set", f"http.host={host}", "--set", f"http.port={worker.http_port}"]

    def ready():
        return run_to_end("worker", "healthcheck", "--ready", *flags, cwd=world.folder)

    until(lambda: ready().returncode == 0, 20)
    if host == "::" and processes == "1":
        assert worker.status()["http"] == f"[::]:{worker.http_port}"  # asked by IPv4
    if host == "::1":
        url = f"http://[::1]:{worker.http_port}/metrics"
        done = run_to_end(
            "loadgen",
            "--mix",
            "note=2",
            "--yes",
            "--observe",
            "metrics",
            "--worker-metrics",
            url,
            "--json",
            "--redis-url",
            world.url,
            cwd=world.folder,
        )
        assert done.returncode == 0, done.stderr


@needs_ipv6
def test_a_health_check_that_gets_no_answer_names_the_address_as_in_a_url(world):
    port = free_port()
    done = run_to_end(
        "worker",
        "healthcheck",
        "--set",
        "http.host=::",
        "--set",
        f"http.port={port}",
        cwd=world.folder,
    )
    assert (done.returncode, f"no answer from [::1]:{port}/livez" in done.stderr) == (1, True)


@needs_ipv6
def test_redis_is_reached_by_ipv6(world, server):
    six = server(args=["--bind", "127.0.0.1", "::1"])
    url = f"redis://[::1]:{six.port}/0"
    worker = world.start_worker(redis={"url": url})
    assert f"at {url}" in worker.log()
    done = run_to_end(
        *("loadgen", "--mix", "note=2", "--allow-unknown", "--yes"),
        *("--redis-url", url),
        cwd=world.folder,
    )
    assert done.returncode == 0, done.stderr
    assert run_to_end("worker", "status", "--redis-url", url, cwd=world.folder).returncode == 0
    worker.drain()
    six.close()
    done = run_to_end("worker", "status", "--redis-url", url, cwd=world.folder)
    assert (done.returncode, done.stderr.count("\n"), f"[::1]:{six.port}" in done.stderr) == (
        3,
        1,
        True,
    )
