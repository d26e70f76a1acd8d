"""What a bad load generator hides: a stall, a loss, its own limit, an interrupt."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_worker import FakeWorker
from tests.support.loadgen_command import Loadgen
from tests.support.truth import FULL, scaled
from tests.support.waiting import until_async

KEY = "async_tasks"
PARTS = ("succeeded", "failed", "dead", "waiting", "in_flight", "delayed", "lost")


@pytest.fixture
def loadgen(redis_url: str, tmp_path: Path) -> Loadgen:
    return Loadgen(redis_url, tmp_path)


def adds_up(books: dict[str, Any]) -> bool:
    return bool(books["sent"] == sum(books[part] for part in PARTS))


async def test_a_stalled_server_does_not_hide_behind_the_tasks_it_delayed(server, tmp_path):
    """Omission: the server stands still for 2 s of a 1,000/s run (in CI 1 s of 500/s)."""
    rate, stall_s, length_s = int(scaled(500, 1000)), scaled(1, 2), int(scaled(5, 10))
    redis = server(appendonly=False)
    loadgen = Loadgen(redis.url, tmp_path)
    async with FakeWorker(redis.url, KEY, slots=100):
        process = await loadgen.start(
            "run", "--mix", "a=1", "--rate", f"{rate}", "--duration", f"{length_s}s", "--json"
        )
        with redis.client() as client:
            await until_async(
                lambda: int(client.hget("{async_tasks}:stats", "succeeded") or 0) > rate,
                30,
                "a second's tasks done",
            )
            redis.pause()
            await asyncio.sleep(stall_s)  # the length of the stall, not a wait for something
            redis.resume()
        out, err = await process.communicate()
    result = json.loads(out)
    series, total = result["series"]["all"], rate * length_s
    assert result["accounting"]["succeeded"] == result["accounting"]["sent"] == total
    assert sum(row["offered"] for row in result["timeline"]) == total
    p99 = {name: series[name]["p99"] for name in ("e2e", "e2e_raw", "send_lag")}
    print(f"stalled for {stall_s:g} s: " + ", ".join(f"{n} {v:.3f} s" for n, v in p99.items()))
    assert p99["e2e"] > 0.8 * stall_s, err
    assert p99["send_lag"] > 0.8 * stall_s
    # Counted from the push, the same tasks would hide what the stall delayed: half of it on average
    # for each that was due meanwhile. A busy machine only adds to that.
    hidden_s = total * (series["e2e"]["mean"] - series["e2e_raw"]["mean"])
    assert hidden_s > 0.8 * rate * stall_s * stall_s / 2
    assert process.returncode == 4
    assert "send_lag" in result["verdict"]["reasons"][0]


async def test_asked_for_more_than_it_can_send_it_says_saturated_and_ends_with_4(loadgen):
    """Ten times what one process can: it sends some hundred thousands a second."""
    code, result = await loadgen.result(
        "run", "--mix", "a=1", "--rate", "5M", "--duration", "500ms", "--drain-timeout", "100ms"
    )
    assert code == 4
    assert result["verdict"]["saturated"]
    books = result["accounting"]
    print(f"asked for 5,000,000/s: {books['sent']:,} sent, {books['unsent']:,} unsent, exit {code}")
    assert books["unsent"] > 1_000_000
    assert books["sent"] + books["unsent"] == 2_500_000


async def test_a_worker_that_drops_one_task_in_a_thousand_is_caught_with_the_exact_count(loadgen):
    count = int(scaled(5_000, 100_000))
    async with FakeWorker(loadgen.url, KEY, slots=100, drop_every=1000):
        code, result = await loadgen.result("--mix", f"fast={count}")
    books = result["accounting"]
    print(f"dropped {count // 1000} of {count:,}: {books['lost']} lost, exit {code}")
    assert code == 1
    assert books["lost"] == count // 1000
    assert books["succeeded"] == count - count // 1000


async def test_a_worker_that_runs_one_task_in_a_thousand_twice_is_caught_with_the_exact_count(
    loadgen,
):
    count = int(scaled(5_000, 100_000))
    async with FakeWorker(loadgen.url, KEY, slots=100, repeat_every=1000):
        code, result = await loadgen.result("--mix", f"fast={count}")
    books = result["accounting"]
    print(f"ran {count // 1000} of {count:,} twice: {books['duplicates']} duplicates")
    assert code == 0
    assert books["duplicates"] == count // 1000
    assert books["succeeded"] == count


async def test_ctrl_c_in_the_middle_of_sending_accounts_for_all_that_was_sent(
    loadgen, redis_client
):
    async with FakeWorker(loadgen.url, KEY, slots=2, service_s=lambda _: 0.02):
        process = await loadgen.start(
            "run", "--mix", "a=1", "--rate", "20k", "--duration", "60s", "--json"
        )
        await until_async(lambda: redis_client.llen(KEY) > 5000, what="thousands of tasks sent")
        process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()
    books = json.loads(out)["accounting"]
    assert process.returncode == 130
    assert adds_up(books)
    assert (books["lost"], books["never_arrived"], books["refused"]) == (0, 0, 0)
    assert books["sent"] - books["succeeded"] == pytest.approx(redis_client.llen(KEY), abs=110)


MOMENTS_S = [0.05, 0.3, 0.6, 1.0, 1.5]
if FULL:
    _rng = random.Random(1)
    MOMENTS_S += [round(_rng.uniform(0, 3), 3) for _ in range(20)]


@pytest.mark.parametrize("after_s", MOMENTS_S)
async def test_ctrl_c_at_any_moment_is_130_and_no_traceback(after_s, loadgen):
    async with FakeWorker(loadgen.url, KEY, slots=5, service_s=lambda _: 0.01):
        process = await loadgen.start(
            "run", "--mix", "a=1", "--rate", "900", "--duration", "60s", "--json"
        )
        await asyncio.sleep(after_s)  # a moment, not a wait for something
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    if process.returncode == 130 or b"loadgen" in err:
        assert b"Traceback" not in err, err.decode()
        assert process.returncode == 130
    else:  # it hit the interpreter's own start, before a line of ours was read
        assert process.returncode in (1, -signal.SIGINT), err.decode()
        assert after_s < 0.1
    if out:
        books = json.loads(out)["accounting"]
        assert adds_up(books)
        assert books["lost"] == 0
