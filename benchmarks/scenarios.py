"""Every row of the bench: what is measured, in which unit, and against which other row."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import postgres
from benchmarks.bench import QUEUE, Bench, rate
from benchmarks.parts import PARTS, measure_part, scrape_ms
from benchmarks.peers.pickup import push_stamped
from benchmarks.peers.rounds import MeasureFailed
from taskrig_loadgen.maths.queueing import list_schedule_s
from taskrig_loadgen.maths.stats import percentile

Measure = Callable[[Bench], float]
DRAIN_TASKS = {1: 10_000, 5: 30_000, 10: 60_000, 100: 150_000, 1000: 150_000}
MIX_S = (0.5, 1.0, 2.0, 0.5, 1.0, 2.0, 0.5)  # the demo mix in its pushed order
PICK_UPS, PICK_UP_RATE = 500, 50.0
MANY, FEW = 1_000_000, 10_000
SLEEPERS = 10_000
ROWS = 10_000
PAGE_TASKS, TAB_ASKS_S = 600_000, 2.0
ONE_SLEEPER = ("tasks={sleep_long: {max_concurrent_total: 1}}", "worker.drain_timeout=0")
BLOCKED_S = 5.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the bench; `against` names the row that its ratio is taken to."""

    group: str
    name: str
    unit: str
    measure: Measure
    against: str = ""


def rows() -> list[Row]:
    """All rows, in the order they are printed."""
    return [
        *_drains(),
        *_features(),
        *_page(),
        *_backlogs(),
        *_several(),
        *_batches(),
        *_parts(),
        *_others(),
    ]


def _drains() -> list[Row]:
    found = []
    for slots, tasks in DRAIN_TASKS.items():
        probe = f"probe, {slots} at once"
        found.append(Row("drain", probe, "tasks/s", _probe(slots, tasks)))
        found.append(
            Row("drain", f"worker, {slots} at once", "tasks/s", _drain(slots, tasks), probe)
        )
    return found


def _features() -> list[Row]:
    plain, tasks = "worker, 100 at once", DRAIN_TASKS[100]
    row = Row(
        "with",
        "a log line per start and end",
        "tasks/s",
        _drain(100, 50_000, settings=["log.tasks=all"]),
        plain,
    )
    found = [row]
    timeout = ["tasks={noop: {timeout: 10s}}"]
    found.append(
        Row("with", "a timeout per task", "tasks/s", _drain(100, tasks, settings=timeout), plain)
    )
    found.append(Row("with", "/metrics scraped once a second", "tasks/s", _scraped, plain))
    found.append(Row("with", "1,000 of another type held back", "tasks/s", _beside_held, plain))
    for text, size in (("100 B", 100), ("1 KiB", 1024), ("64 KiB", 65_536)):
        count = 5_000 if size > 10_000 else 60_000
        found.append(
            Row(
                "with",
                f"a payload of {text}",
                "tasks/s",
                _drain(100, count, payload_bytes=size),
                plain,
            )
        )
    return found


def _page() -> list[Row]:
    found = []
    for unit, cpu in (("tasks/s", False), ("us/task", True)):
        what = "CPU" if cpu else "drain"
        closed = f"{what}, no status page open"
        found.append(Row("page", closed, unit, _with_page(0, cpu)))
        for tabs in (1, 10):
            name = f"{what}, the page open in {tabs} tab{'s' * (tabs > 1)}"
            found.append(Row("page", name, unit, _with_page(tabs, cpu), closed))
    return found


def _backlogs() -> list[Row]:
    few, many = "10,000 waiting", "1,000,000 waiting"
    return [
        Row("backlog", few, "tasks/s", _drain(100, FEW)),
        Row("backlog", many, "tasks/s", _drain(100, MANY), few),
        Row("backlog", few + ", memory", "MiB", _drain(100, FEW, memory=True)),
        Row("backlog", many + ", memory", "MiB", _drain(100, MANY, memory=True), few + ", memory"),
    ]


def _several() -> list[Row]:
    found = []
    for kind, tasks in (("cpu", 3000), ("noop", 150_000)):
        text = "1 ms of CPU" if kind == "cpu" else "no-op"
        for workers in (1, 2, 4):
            name = f"{text}, {workers} worker{'s' * (workers > 1)}"
            against = f"{text}, 1 worker" if workers > 1 else ""
            found.append(Row("workers", name, "tasks/s", _crowd(kind, tasks, workers), against))
    return found


def _batches() -> list[Row]:
    one = "rows into PostgreSQL, an INSERT each"
    return [
        Row("batch", one, "rows/s", _rows("benchmarks.rows_one_by_one")),
        Row("batch", "the same in batches of 500", "rows/s", _rows("benchmarks.rows_batched"), one),
    ]


def _parts() -> list[Row]:
    return [
        Row("parts", name, "us/task", lambda bench, name=name: measure_part(bench, name))  # type: ignore[misc]
        for name in PARTS
    ]


def _others() -> list[Row]:
    found = [
        Row("enqueue", "one LPUSH a task", "tasks/s", _enqueue_single),
        Row("enqueue", "1,000 tasks an LPUSH", "tasks/s", lambda b: b.push("noop", 200_000)),
        Row("pick-up", "p50 at 50/s", "ms", lambda b: _pick_up(b, 0.5)),
        Row("pick-up", "p99 at 50/s", "ms", lambda b: _pick_up(b, 0.99)),
        Row("blocked", "CPU of a worker, 1,000 tasks held back", "%", _blocked_cpu),
        Row("metrics", "CPU of one scrape", "ms", scrape_ms),
        Row("memory", "each of 10,000 tasks in flight", "KiB", _per_sleeper),
        Row(
            "drain",
            "10 ms waits, 100 at once (ideal 10,000)",
            "tasks/s",
            _drain(100, 30_000, kind="sleep10"),
        ),
    ]
    for slots in (1, 5, 7, 10):
        ideal = list_schedule_s(MIX_S, slots)
        found.append(Row("mix", f"over the ideal {ideal:g} s, {slots} at once", "%", _mix(slots)))
    return found


def _drain(
    slots: int,
    tasks: int,
    *,
    kind: str = "noop",
    payload_bytes: int = 0,
    settings: Sequence[str] = (),
    memory: bool = False,
) -> Measure:
    def measure(bench: Bench) -> float:
        bench.push(kind, tasks, payload_bytes)
        with bench.worker(slots, expect=tasks, max_tasks=tasks, settings=settings) as out:
            clock = bench.read(out)
        return float(clock["rss_bytes"]) / 2**20 if memory else rate(clock)

    return measure


def _probe(slots: int, tasks: int) -> Measure:
    def measure(bench: Bench) -> float:
        bench.push("noop", tasks)
        with bench.probe(slots, tasks) as out:
            return rate(bench.read(out))

    return measure


def _crowd(kind: str, tasks: int, workers: int) -> Measure:
    """All workers start, wait for the list, and drain it together."""

    def measure(bench: Bench) -> float:
        bench.client.flushdb()
        outs = bench.crowd(workers, lambda: bench.fill(kind, tasks))
        clocks = [bench.read(out) for out in outs if out.exists()]
        done = sum(clock["calls"] for clock in clocks)
        if done != tasks:
            raise MeasureFailed(f"{done} of {tasks} tasks ran")
        first = min(clock["first"] for clock in clocks)
        return float((done - 1) / (max(clock["last"] for clock in clocks) - first))

    return measure


def _rows(handlers: str) -> Measure:
    """A drain into a table of a server with its default settings, ten slots; all rows are there."""

    def measure(bench: Bench) -> float:
        bench.push("row", ROWS, 100)
        with postgres.server() as folder:
            database = postgres.Connection(folder)
            database.execute("CREATE TABLE rows (id serial PRIMARY KEY, text text NOT NULL)")
            settings, env = [f"handlers=[{handlers}]"], {postgres.WHERE: folder}
            with bench.worker(10, expect=ROWS, max_tasks=ROWS, settings=settings, env=env) as out:
                clock = bench.read(out)
            found = database.execute("SELECT count(*) FROM rows")
        if found != str(ROWS):
            raise MeasureFailed(f"{found} of {ROWS} rows are there")
        return rate(clock)

    return measure


def _scraped(bench: Bench) -> float:
    bench.push("noop", 400_000)
    with bench.worker(100, expect=400_000, max_tasks=400_000) as out:
        bench.ask_until(out, "/metrics", every_s=1.0)
        return rate(bench.read(out))


def _with_page(tabs: int, cpu: bool) -> Measure:
    """A drain while so many browser tabs follow the status page, as its script does.

    With `cpu` it is the worker's own CPU, which other programs on the machine disturb less.
    """

    def measure(bench: Bench) -> float:
        bench.push("noop", PAGE_TASKS)
        with bench.worker(100, expect=PAGE_TASKS, max_tasks=PAGE_TASKS) as out:
            if tabs and not bench.ask_until(out, "/api/status", every_s=TAB_ASKS_S, askers=tabs):
                raise MeasureFailed("the status page did not answer")
            clock = bench.read(out)
        return float(clock["cpu_s"]) / PAGE_TASKS * 1e6 if cpu else rate(clock)

    return measure


def _beside_held(bench: Bench) -> float:
    """No-op tasks behind 1,000 of a type of which one may run."""
    tasks = DRAIN_TASKS[100]
    bench.push("sleep_long", 1000)
    bench.fill("noop", tasks)
    with bench.worker(100, expect=tasks + 1, settings=ONE_SLEEPER) as out:
        return rate(bench.read(out))


def _blocked_cpu(bench: Bench) -> float:
    """What a worker uses of one core while all that waits is held back."""
    bench.push("sleep_long", 1000)
    with bench.worker(100, expect=1, settings=ONE_SLEEPER) as out:
        pid = bench.until_a_worker_is_there()
        bench.read(out)
        bench.until_held("sleep_long", 999)
        began, before = time.monotonic(), _cpu_s(pid)
        time.sleep(BLOCKED_S)
        return 100 * (_cpu_s(pid) - before) / (time.monotonic() - began)


def _enqueue_single(bench: Bench) -> float:
    bench.client.flushdb()
    before = time.monotonic()
    for _ in range(10_000):
        bench.client.lpush(QUEUE, b'{"type":"noop","data":{}}')
    return 10_000 / (time.monotonic() - before)


def _pick_up(bench: Bench, share: float) -> float:
    bench.client.flushdb()
    with bench.worker(100, expect=PICK_UPS, max_tasks=PICK_UPS) as out:
        bench.until_a_worker_is_there()
        push_stamped(
            lambda sent: bench.client.lpush(QUEUE, _item("stamped", sent=sent)),
            PICK_UPS,
            PICK_UP_RATE,
        )
        waits = sorted(bench.read(out)["waits_s"])
    return percentile(waits, share) * 1000


def _mix(slots: int) -> Measure:
    def measure(bench: Bench) -> float:
        bench.client.flushdb()
        items = [_item("mix", s=s) for s in MIX_S]
        with bench.worker(slots, expect=len(items), max_tasks=len(items)) as out:
            bench.until_a_worker_is_there()
            before = time.monotonic()
            bench.client.lpush(QUEUE, *items)
            took_s = bench.read(out)["last"] - before
        ideal_s = list_schedule_s(MIX_S, slots)
        return float(100 * (took_s - ideal_s) / ideal_s)

    return measure


def _per_sleeper(bench: Bench) -> float:
    bench.client.flushdb()
    with bench.worker(SLEEPERS, expect=SLEEPERS) as out:
        pid = bench.until_a_worker_is_there()
        before = _resident(pid)
        bench.fill("sleep_long", SLEEPERS)
        bench.read(out)
        return (_resident(pid) - before) / SLEEPERS / 1024


def _item(kind: str, **data: float) -> str:
    return json.dumps({"type": kind, "data": data})


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096
