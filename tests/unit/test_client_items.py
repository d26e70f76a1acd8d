"""What the client pushes, and what it refuses because a worker would refuse or ignore it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from taskrig import Queue
from taskrig.client.items import item_of, task
from taskrig.task import decode

MOST = 2**20


def made(given):
    return decode(item_of(given, MOST)[1])


def test_a_task_gets_an_id_and_the_time_of_its_push():
    name, item, _ = item_of(task("email", {"to": "a"}), MOST)
    found = decode(item)
    assert (found.type, found.data, found.id) == ("email", {"to": "a"}, name)
    assert abs(found.enqueued_at - time.time()) < 60 and found.run_at is None
    assert item_of(task("email"), MOST)[0] != name


def test_data_may_be_any_json_value_and_is_an_empty_object_by_default():
    assert made(task("a")).data == {}
    for data in (0, False, "", [], "é", 10**30, {"x": [None]}):
        assert made(task("a", data)).data == data
    assert made({"type": "a", "data": None}).data is None


def test_keys_of_the_producers_own_go_along_and_none_is_left_out():
    found = made(task("a", tenant=7, traceparent=None))
    assert found.fields["tenant"] == 7 and "traceparent" not in found.fields


def test_an_id_that_is_a_number_is_the_text_that_workers_make_of_it():
    name, item, _ = item_of(task("a", id=42), MOST)
    assert name == "42" == decode(item).id


@pytest.mark.parametrize("delay", [60, 60.0, timedelta(minutes=1)])
def test_a_delay_counts_from_now(delay):
    assert abs(made(task("a", delay=delay)).run_at - time.time() - 60) < 60


def test_run_at_may_be_a_moment_of_a_time_zone():
    at = datetime(2030, 1, 2, tzinfo=UTC)
    assert made(task("a", run_at=at)).run_at == at.timestamp()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "type_missing"),
        ({"type": ""}, "type_empty"),
        ({"type": "x" * 257}, "type_too_long"),
        ({"type": 1}, "type_not_a_string"),
        ({"type": "a", "data": float("nan")}, "not JSON compliant"),
        ({"type": "a", "data": "\ud800"}, "lone_surrogate"),
        ({"type": "a", "data": object()}, "not JSON serializable"),
        ({"type": "a", "data": "x" * MOST}, "more than queue.max_item_bytes"),
        ({"type": "a", "id": ""}, "id must be text that is not empty, or a whole number (empty)"),
        ({"type": "a", "id": True}, "(true or false)"),
        ({"type": "a", "id": 1.5}, "(a fraction)"),
        ({"type": "a", "run_at": 1767225600000}, "run_at must be Unix seconds"),
        ({"type": "a", "run_at": 60}, "is it a length of time?"),
        ({"type": "a", "run_at": "soon"}, "(text)"),
        ({"type": "a", "run_at": float("inf")}, "(not finite)"),
        ({"type": "a", "run_at": datetime(2030, 1, 1)}, "without a time zone"),
        ({"type": "a", "enqueued_at": -1}, "(not positive)"),
        ({"type": "a", "result_ttl": -1}, "result_ttl must be seconds from 0, not -1 (negative)"),
        ({"type": "a", "result_ttl": "1h"}, "(text)"),
        ({"type": "a", "result_ttl": 5, "id": "x" * 513}, "an id of more than 512 bytes"),
        ("a", "must be a dict with a type, not str"),
    ],
)
def test_what_a_worker_would_refuse_or_ignore_is_refused(given, why):
    with pytest.raises(ValueError, match=re.escape(why)) as refused:
        item_of(given, MOST)
    assert "\n" not in str(refused.value)


def test_deep_and_circular_data_are_refused():
    deep = circular = []
    for _ in range(600):
        deep = [deep]
    circular.append(circular)
    for data in (deep, circular):
        with pytest.raises(ValueError, match="would not be a task"):
            item_of({"type": "a", "data": data}, MOST)


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), 1e11, True, "60", None])
def test_a_delay_that_cannot_be_is_refused(delay):
    if delay is None:
        with pytest.raises(ValueError, match="not both"):
            task("a", delay=1, run_at=time.time())
        return
    with pytest.raises(ValueError, match="delay must be seconds from 0"):
        task("a", delay=delay)


def test_values_that_json_does_not_know_are_made_by_default():
    _, item, _ = item_of(task("a", {"at": timedelta(seconds=5)}), MOST, lambda value: str(value))
    assert decode(item).data == {"at": "0:00:05"}


def test_a_queue_of_a_url_ignores_config_yaml_and_the_environments_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("not: ours\n")
    monkeypatch.setenv("TASKRIG_REDIS__URL", "redis://elsewhere:1/0")
    monkeypatch.setenv("TASKRIG_QUEUE__KEY", "theirs")
    assert Queue("redis://here:1/0").key == "theirs"
    assert Queue("redis://here:1/0", key="mine").key == "mine"


def test_a_queue_reads_config_yaml_as_the_commands_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("queue: {key: ours, lists: [ours, bulk]}\n")
    assert Queue().key == "ours"
    other = tmp_path / "other.yaml"
    other.write_text("queue: {key: other}\n")
    assert Queue(config=other).key == "other"
    assert Queue(settings={"queue": {"key": "told"}}).key == "told"


def test_importing_taskrig_loads_no_client():
    code = "import sys, taskrig; print([n for n in sys.modules if n in ('redis', 'pydantic')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
