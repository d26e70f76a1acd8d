"""Recordings: the order, the pace and the data are kept; bad lines are told by number."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from taskrig.errors import UsageError
from taskrig_loadgen.load.recording import read_recording
from taskrig_loadgen.load.workload import Workload
from taskrig_loadgen.run.sender import TaskWriter


def read(folder: Path, *lines: object, speed: float = 1.0) -> Workload:
    path = folder / "tasks.jsonl"
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines))
    return read_recording(path, speed=speed, drain_timeout_s=5)


def test_tasks_are_replayed_in_their_order_at_their_pace_with_their_data(tmp_path):
    workload = read(
        tmp_path,
        {"type": "b", "data": {"n": 2}, "enqueued_at": 1005.0},
        {"type": "a", "data": {"n": 1}, "enqueued_at": 1001.0},
        {"type": "a", "enqueued_at": 1009.0},
        speed=2,
    )
    assert list(workload.due()) == [0.0, 2.0, 4.0]
    kinds = list(workload.kinds())
    assert [workload.mix.types[kind] for kind in kinds] == ["a", "b", "a"]
    writer = TaskWriter("r", workload.mix.types, workload.bodies, workload.order)
    sent = [json.loads(writer.write(kind, n, 1.0)) for n, kind in enumerate(kinds)]
    assert [task["data"] for task in sent] == [{"n": 1}, {"n": 2}, {}]


def test_every_key_of_a_recorded_task_is_sent_and_its_id_by_choice(tmp_path):
    task = {"type": "a", "id": "x", "run": "old:7", "data": [1], "trace": {"a": "ü"}, "mine": None}
    (tmp_path / "tasks.jsonl").write_text(json.dumps(task))
    for keep_ids in (False, True):
        workload = read_recording(
            tmp_path / "tasks.jsonl", speed=1, drain_timeout_s=5, keep_ids=keep_ids
        )
        writer = TaskWriter("r", workload.mix.types, workload.bodies, workload.order)
        sent = json.loads(writer.write(0, 0, 1.0))
        assert sent.pop("id", None) == ("x" if keep_ids else None)
        assert sent == {**{k: task[k] for k in ("type", "data", "trace", "mine")}, **ours(sent)}
        assert sent["run"] == "r:0"
        assert list(workload.data_bytes()) == [3]


def ours(sent: dict[str, object]) -> dict[str, object]:
    return {key: sent[key] for key in ("run", "enqueued_at")}


def test_the_data_of_a_recording_is_in_memory_once_however_many_its_types_are(tmp_path):
    tasks = [{"type": f"t{n % 40}", "data": "x" * 5_000} for n in range(400)]
    workload = read(tmp_path, *tasks)
    tracemalloc.start()
    writer = TaskWriter("r", workload.mix.types, workload.bodies, workload.order)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 3_000_000  # of 2 MB; each type with all of it would be 80
    assert json.loads(writer.write(39, 399, 1.0))["type"] == "t39"
    sizes = dict(zip(workload.mix.types, workload.data_bytes(), strict=True))
    assert sizes["t7"] == 5_002


def test_tasks_without_a_time_are_sent_at_once(tmp_path):
    workload = read(tmp_path, {"type": "a"}, "", {"type": "b"})
    assert workload.profile is None
    assert workload.mix.total == 2


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "jsonl:2: not JSON"),
        ("[1]", "jsonl:2: a task is a JSON object"),
        ('{"data": 1}', "jsonl:2: the type must be a string"),
        ('{"type": ""}', "jsonl:2: the type must be a string"),
        ('{"type": "a", "at": "x"}', "jsonl:2: at must be a number"),
        ('{"type": "a", "at": NaN}', "jsonl:2: at must be finite"),
        pytest.param('{"type": "a", "at": %s}' % ("9" * 400), "2: at must be finite", id="long"),
        ('{"type": "all"}', "jsonl:2: 'all' stands for all types"),
        ('{"type": "\\ud800"}', "jsonl:2: the type .* is not valid text"),
        ('{"type": "a"}', "some tasks have a time"),
        ('{"type": "a", "data": {"x": NaN}}', "jsonl:2: a number is not finite"),
        ('{"type": "a", "data": 1e999}', "jsonl:2: a number is not finite"),
        ('{"type": "a", "mine": -Infinity}', "jsonl:2: a number is not finite"),
    ],
)
def test_a_bad_line_is_told_by_its_number(line, why, tmp_path):
    with pytest.raises(UsageError, match=why):
        read(tmp_path, {"type": "a", "at": 1}, line)


def test_an_empty_recording_and_a_missing_one_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no task"):
        read(tmp_path, "")
    with pytest.raises(UsageError, match="cannot read"):
        read_recording(tmp_path / "nowhere", speed=1, drain_timeout_s=1)
