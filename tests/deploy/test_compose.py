"""The image and the Compose file, for real: what is inside, and how it stops, scales and dies."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.deploy.compose_stack import Stack, docker, inspect, require_compose, until_exited
from tests.support.processes import run_to_end
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(300)  # the first build installs everything


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    require_compose()
    stack = Stack(tmp_path_factory.mktemp("compose"))
    stack.close()  # what an interrupted run left
    stack.build()
    yield stack
    stack.close()


@pytest.fixture
def stack(built: Stack) -> Stack:
    built.up(workers=1)
    with redis.Redis.from_url(built.redis_url) as client:
        client.flushdb()
    return built


@pytest.fixture
def queue(stack: Stack) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(stack.redis_url, decode_responses=True) as client:
        yield client


def _push(queue: redis.Redis, task_type: str, count: int, **data: float) -> None:
    queue.lpush("async_tasks", *[json.dumps({"type": task_type, "data": data})] * count)


def _done(queue: redis.Redis) -> int:
    return int(queue.hget("{async_tasks}:stats", "succeeded") or 0)  # type: ignore[arg-type]


def _in_flight(queue: redis.Redis) -> int:
    return int(queue.hlen("{async_tasks}:inflight"))  # type: ignore[arg-type]


def test_the_worker_is_process_1_without_root_or_a_writable_root_or_an_installer(
    stack: Stack,
) -> None:
    (container,) = stack.workers()

    def inside(script: str) -> str:
        return docker("exec", container, "sh", "-c", script)

    assert "worker" in inside("tr '\\0' ' ' </proc/1/cmdline")
    assert inside("id -u") == "10001"
    assert inside("touch /app/x 2>/dev/null || echo refused") == "refused"
    assert inside("grep CapEff /proc/1/status").endswith("0000000000000000")
    assert inside("grep NoNewPrivs /proc/1/status").endswith("1")
    assert inside("command -v pip pip3 gcc cc make || echo none") == "none"
    assert inside("python3 -c 'import pip' 2>/dev/null || echo none") == "none"
    image = inspect(container)["Image"]
    print(f"image size: {int(docker('image', 'inspect', '-f', '{{.Size}}', image)) / 1e6:.0f} MB")


def test_the_bill_of_materials_names_every_locked_package_of_the_image(stack: Stack) -> None:
    (container,) = stack.workers()
    script = (ROOT / "deploy" / "checks" / "sbom.py").read_text()
    bill = json.loads(docker("exec", container, "python3", "-c", script))
    found = {component["purl"] for component in bill["components"]}
    lock = (ROOT / "requirements" / "runtime.txt").read_text()
    locked = re.findall(r"^([a-z0-9._-]+)==(\S+) \\$", lock, re.MULTILINE)  # without a condition

    assert bill["metadata"]["component"]["name"] == "taskrig"
    assert len(locked) > 8
    assert {f"pkg:pypi/{name}@{version}" for name, version in locked} - found == set()


def test_the_ports_are_published_on_this_machine_only(stack: Stack) -> None:
    containers = stack.compose("ps", "--quiet").stdout.split()
    published = [
        binding["HostIp"]
        for container in containers
        for bindings in inspect(container)["NetworkSettings"]["Ports"].values()
        for binding in bindings or []
    ]
    assert len(published) == 2
    assert set(published) == {"127.0.0.1"}


def test_loadgen_gets_the_cards_mix_done_by_the_container(stack: Stack, tmp_path: Path) -> None:
    mix = ["--mix", "fast=3,medium=2,slow=2", "--redis-url", stack.redis_url, "--json"]
    done = run_to_end("loadgen", *mix, cwd=tmp_path, timeout_s=60)

    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["accounting"]["succeeded"] == 7


def test_loadgen_in_a_container_of_the_stack_reports_too(stack: Stack) -> None:
    done = stack.compose("run", "--rm", "--no-deps", "load", "--mix", "fast=2")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 sent = 2 succeeded" in done.stdout


def test_a_stop_lets_the_running_task_finish_and_ends_in_time_with_exit_0(
    stack: Stack, queue: redis.Redis
) -> None:
    (container,) = stack.workers()
    _push(queue, "wait", 1, seconds=3)
    until(lambda: _in_flight(queue) == 1, what="the task to run")

    began = time.monotonic()
    stack.compose("stop", "worker")
    took_s = time.monotonic() - began

    assert until_exited(container, timeout_s=5) == 0, stack.logs()
    assert took_s < 20  # the grace period is 40 s: it was not killed
    assert _done(queue) == 1
    assert _in_flight(queue) == 0
    assert "draining" in stack.logs()
    print(f"stopped after {took_s:.1f} s with a 3 s task running")


@pytest.mark.parametrize("command", [["run"], ["run", "--processes", "2"]], ids=" ".join)
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_process_1_ends_by_a_signal_at_any_moment_of_its_start(
    stack: Stack, command: list[str], name: str
) -> None:
    image = inspect(stack.workers()[0])["Image"]
    for after_s in (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6):
        container = docker("run", "--detach", "--network", "none", image, *command)
        try:
            time.sleep(after_s)  # the point is the moment, not a condition
            docker("kill", "--signal", name, container)
            assert until_exited(container, timeout_s=20) == 0, (after_s, docker("logs", container))
        finally:
            docker("rm", "--force", container)


def test_three_replicas_share_the_work_and_the_death_of_one_loses_nothing(
    stack: Stack, queue: redis.Redis
) -> None:
    stack.up(workers=3)
    until(lambda: queue.zcard("{async_tasks}:workers") == 3, what="three workers")
    _push(queue, "fast_task", 60)
    until(lambda: _in_flight(queue) == 15, what="all fifteen slots to be in use")

    docker("kill", stack.workers()[0])

    until(lambda: _done(queue) >= 60, timeout_s=60, what=lambda: f"60 done, not {_done(queue)}")
    assert queue.llen("async_tasks") == 0
    until(lambda: _in_flight(queue) == 0, what="nothing left in flight")
    assert int(queue.hget("{async_tasks}:stats", "reclaimed") or 0) > 0  # type: ignore[arg-type]


def test_a_password_from_a_file_is_asked_for_and_shown_nowhere(
    built: Stack, tmp_path: Path
) -> None:
    built.close()
    secret = "s3cret-and-long"
    tmp_path.chmod(0o755)
    stack = Stack(tmp_path, password=secret)
    try:
        stack.up()
        with redis.Redis.from_url(stack.redis_url) as client:
            client.lpush("async_tasks", json.dumps({"type": "noop"}))
            done = "{async_tasks}:stats"
            until(lambda: client.hget(done, "succeeded") == b"1", what="the task to be done")
        with (
            redis.Redis(port=stack.redis_port) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()
        for container in stack.compose("ps", "--quiet").stdout.split():
            assert secret not in json.dumps(inspect(container))
            assert secret not in docker("top", container)
            assert secret not in docker("logs", container)
    finally:
        stack.close()
