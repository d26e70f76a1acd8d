"""The schedule: each time exactly once, whoever lives, restarts or looks at the same moment."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from taskrig.cron import parse_line
from taskrig.engine.scheduler import Scheduler
from taskrig.metrics import Metrics

LINE = 'minutely * * * * * {"type": "tick"}'
START = datetime(2024, 3, 1, 12, 0, 30, tzinfo=UTC).timestamp()


class Clock:
    """The server's clock, set by the test."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def scheduler(queue, worker_id, clock, *lines, grace_s=600.0):
    metrics = Metrics([], 1, "test", "test")
    entries = [parse_line(line) for line in lines or (LINE,)]
    return Scheduler(entries, grace_s, queue.hand(worker_id).broker, metrics, clock)


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


async def test_what_a_year_has_missed_is_one_line_with_a_count_and_never_holds_the_loop(
    queue, caplog
):
    caplog.set_level(logging.INFO, "taskrig")
    clock, turns = Clock(), 0
    lines = [LINE, 'hourly 0 * * * * {"type": "tick"}', 'leap 0 0 29 2 * {"type": "tick"}']
    one = scheduler(queue, "w1", clock, *lines, grace_s=60)
    await one.tick()
    clock.now += 300 * 86400
    ticking = asyncio.ensure_future(one.tick())
    while not ticking.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 20, "the event loop went round meanwhile"
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "schedule: left out at least 2000 times that were missed by more than 60 s "
        "(worker.schedule_grace), most of them of minutely"
    ]
    clock.now += 60
    await one.tick()
    assert enqueued(queue) == [clock.now - 90, clock.now - 90, clock.now - 30], "both lines go on"


async def test_what_was_missed_while_nobody_was_there_is_counted_to_the_last_one(queue, caplog):
    clock = Clock()
    await scheduler(queue, "w1", clock, grace_s=90).tick()
    clock.now += 600
    await scheduler(queue, "w1", clock, grace_s=90).tick()
    assert enqueued(queue) == [clock.now - 90, clock.now - 30]
    assert "left out 8 times that were missed by more than 90 s" in caplog.text


async def test_a_clock_that_was_ahead_and_is_set_back_does_not_stop_the_schedule(queue):
    clock = Clock()
    workers = [scheduler(queue, f"w{n}", clock) for n in range(2)]
    for worker in workers:
        await worker.tick()
    clock.now += 3600
    for worker in workers:
        await worker.tick()
    ahead = len(enqueued(queue))
    clock.now -= 3500
    for worker in workers:
        await worker.tick()
    for _ in range(3):
        clock.now += 60
        for worker in (*workers, scheduler(queue, "new", clock)):
            await worker.tick()
    assert enqueued(queue)[ahead:] == [START + 150, START + 210, START + 270]


async def test_a_small_correction_of_the_clock_runs_nothing_twice(queue):
    clock = Clock()
    one = scheduler(queue, "w1", clock)
    await one.tick()
    for moved in (31, -10, 20, 60):
        clock.now += moved
        await one.tick()
    assert enqueued(queue) == [START + 30, START + 90]


async def test_a_worker_that_has_not_noticed_a_clock_set_back_enqueues_nothing_of_the_future(queue):
    clock = Clock()
    clock.now = time.time() + 3600
    one = scheduler(queue, "w1", clock)
    await one.tick()
    clock.now += 61
    await one.tick()
    assert enqueued(queue) == []


async def test_the_task_is_the_one_of_the_line_with_an_id_of_its_time(queue):
    clock = Clock()
    line = 'report 1 12 * * * {"type": "r", "data": {"n": 1}}'
    one = scheduler(queue, "w1", clock, line)
    await one.tick()
    clock.now += 31
    await one.tick()
    (item,) = queue.redis.lrange(queue.keys.queue, 0, -1)
    assert json.loads(item) == {
        "type": "r",
        "data": {"n": 1},
        "id": "report@2024-03-01T12:01:00Z",
        "enqueued_at": START + 30,
    }


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
        "25 02:00 +0200",
        "25 02:30 +0200",
        "25 02:00 +0100",
        "25 02:30 +0100",
        "25 03:00 +0100",
    ]
    assert local_times("*/30 * * * *", (2026, 3, 29, 1, 1), 3) == [
        "29 01:30 +0100",
        "29 03:00 +0200",
        "29 03:30 +0200",
    ]


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
