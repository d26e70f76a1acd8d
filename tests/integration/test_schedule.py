"""The schedule: each time exactly once, whoever lives, restarts or looks at the same moment."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from worker.metrics import Metrics
from worker.schedule import parse_line
from worker.scheduler import Scheduler

LINE = 'minutely * * * * * {"type": "tick"}'
START = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC).timestamp()


class Clock:
    """The server's clock, set by the test."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def scheduler(queue, worker_id, clock, line=LINE, grace_s=600.0):
    metrics = Metrics([], 1, "test", "test")
    return Scheduler([parse_line(line)], grace_s, queue.hand(worker_id).broker, metrics, clock)


def enqueued(queue):
    items = queue.redis.lrange(queue.keys.queue, 0, -1)
    return [json.loads(item)["enqueued_at"] for item in reversed(items)]


async def test_over_a_hundred_restarts_of_two_workers_each_time_comes_exactly_once(queue):
    clock, chance = Clock(), random.Random(7)
    workers = [scheduler(queue, f"w{n}", clock) for n in range(2)]
    await workers[0].tick()
    for turn in range(100):
        # Close around the full minute as often as not, and now and then away for minutes.
        clock.now += chance.choice([0.3, 29.9, 30.1, 59.95, 61, 200])
        number = chance.randrange(2)
        await workers[number].tick()
        workers[number] = scheduler(queue, f"w{number}", clock)
        await workers[turn % 2].tick()
        await workers[1 - turn % 2].tick()
    last = clock.now - clock.now % 60
    assert enqueued(queue) == [START + 30 + 60 * n for n in range(int((last - START) // 60) + 1)]


async def test_a_new_line_makes_up_for_nothing_before_it_was_there(queue):
    clock = Clock()
    await scheduler(queue, "w1", clock).tick()
    assert enqueued(queue) == []


async def test_what_was_missed_for_longer_than_the_grace_time_is_left_out(queue):
    clock = Clock()
    await scheduler(queue, "w1", clock, grace_s=60).tick()
    clock.now += 3600
    await scheduler(queue, "w1", clock, grace_s=60).tick()
    assert enqueued(queue) == [START + 3600 - 30]


async def test_the_task_is_the_one_of_the_line_with_an_id_of_its_time(queue):
    clock = Clock()
    line = 'report 1 12 * * * {"type": "r", "data": {"n": 1}}'
    one = scheduler(queue, "w1", clock, line)
    await one.tick()
    clock.now += 31
    await one.tick()
    (item,) = queue.redis.lrange(queue.keys.queue, 0, -1)
    assert json.loads(item) == {
        "type": "r", "data": {"n": 1}, "id": "report@2026-03-01T12:01:00Z",
        "enqueued_at": START + 30,
    }  # fmt: skip


def local_times(cron, start, count):
    zone = ZoneInfo("Europe/Berlin")
    entry = parse_line(f'x {cron} Europe/Berlin {{"type": "t"}}')
    at, found = datetime(*start, tzinfo=zone).timestamp(), []
    for _ in range(count):
        at = entry.next_after(at)
        found.append(datetime.fromtimestamp(at, zone).strftime("%d %H:%M %z"))
    return found


def test_in_spring_a_time_that_does_not_exist_comes_right_after_the_gap():
    assert local_times("30 2 * * *", (2026, 3, 28, 12), 2) == ["29 03:00 +0200", "30 02:30 +0200"]


def test_in_autumn_a_time_that_exists_twice_comes_once():
    assert local_times("30 2 * * *", (2026, 10, 24, 12), 2) == ["25 02:30 +0200", "26 02:30 +0100"]


def test_what_comes_every_half_hour_goes_on_every_half_hour():
    assert local_times("*/30 * * * *", (2026, 10, 25, 1, 31), 5) == [
        "25 02:00 +0200", "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100", "25 03:00 +0100",
    ]  # fmt: skip
    assert local_times("*/30 * * * *", (2026, 3, 29, 1, 1), 3) == [
        "29 01:30 +0100", "29 03:00 +0200", "29 03:30 +0200",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0 3 * * *", "must be NAME"),
        ('x 61 3 * * * {"type": "t"}', "Bad minute"),
        ('x 0 3 * * * Mars/Olympus {"type": "t"}', "unknown time zone, Mars/Olympus"),
        ('x 0 3 * * * {"data": 1}', "holds no task (type_missing)"),
    ],
)
def test_a_line_that_will_not_do_is_said_in_one_line(line, says):
    with pytest.raises(ValueError, match=r".") as caught:
        parse_line(line)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
