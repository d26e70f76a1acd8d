"""What all task queues are put to, each with the same clock: first handler's call to last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.bench import rate
from benchmarks.peers.bare import BURN_S
from benchmarks.peers.field import Field
from benchmarks.peers.peer import COROUTINE, PLAIN, PROCESS
from benchmarks.peers.rounds import MeasureFailed, Samples
from taskrig_loadgen.maths.queueing import list_schedule_s
from taskrig_loadgen.maths.stats import percentile

DRAIN_S = 90.0
WARM_S = 3.0  # a worker's start and its first blocking read, before tasks come one by one
PICK_UPS, PICK_UP_RATE = 300, 50.0
LOADED, LOADED_RATE = 3000, 500.0  # of work.LOADED_S each
BURNS, BURN_SLOTS = 4000, 2
MIX_S = (0.5, 1.0, 2.0, 0.5, 1.0, 2.0, 0.5)
MIX_SLOTS = 5
RECOVER_S = 100.0  # how long a second run is waited for

Measure = Callable[[Field, str], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One task for all; `measure` returns one or more figures, `units` says of what."""

    name: str
    text: str
    units: dict[str, str]  # figure -> unit, as shown
    higher_is_better: bool
    measure: Measure
    form: str = ""  # of handlers: then only those take part who have it

    def takes(self, field: Field, name: str) -> bool:
        """Whether this peer can do it."""
        forms = field.peer(name).forms
        return self.form in forms if self.form else forms != (PROCESS,)


def _drain(slots: int, form: str) -> Measure:
    def measure(field: Field, name: str) -> dict[str, float]:
        peer = field.peer(name)
        field.clear()
        tasks = peer.drain_tasks
        field.push(name, "noop", tasks, "many", form=form)
        with field.worker(name, slots, tasks, form=form) as run:
            clock = run.clock(DRAIN_S)
        return {
            "rate": rate(clock),
            "cpu": clock["cpu_s"] / tasks * 1e6,
            "memory": clock["rss_bytes"] / 2**20,
        }

    return measure


def _waits(field: Field, name: str) -> dict[str, float]:
    tasks = max(1000, min(20_000, field.peer(name).drain_tasks))
    if field.peer(name).slots == "one at a time":
        tasks = 300
    field.clear()
    field.push(name, "wait", tasks, "many", "0.01")
    with field.worker(name, 100, tasks) as run:
        return {"rate": rate(run.clock(DRAIN_S))}


def _burn(field: Field, name: str) -> dict[str, float]:
    field.clear()
    field.push(name, "burn", BURNS, "many", f"{BURN_S}", form=PROCESS)
    with field.worker(name, BURN_SLOTS, BURNS, form=PROCESS) as run:
        return {"rate": rate(run.clock(DRAIN_S))}


def _pick_up(kind: str, count: int, per_s: float) -> Measure:
    def measure(field: Field, name: str) -> dict[str, float]:
        field.clear()
        with field.worker(name, 10, count) as run:
            time.sleep(WARM_S)
            field.push(name, kind, count, f"{per_s:g}")
            waits = sorted(run.clock(30)["waits_s"])
        return {"p50": percentile(waits, 0.5) * 1000, "p99": percentile(waits, 0.99) * 1000}

    return measure


def _mix(field: Field, name: str) -> dict[str, float]:
    field.clear()
    values = ",".join(map(str, MIX_S))
    with field.worker(name, MIX_SLOTS, len(MIX_S)) as run:
        time.sleep(WARM_S)
        field.push(name, "mix", len(MIX_S), "many", values)
        clock = run.clock(30)
    ideal_s = list_schedule_s(MIX_S, MIX_SLOTS)
    return {"over": 100 * (clock["last"] - clock["first"] - ideal_s) / ideal_s}


def _enqueue(how: str) -> Measure:
    def measure(field: Field, name: str) -> dict[str, float]:
        field.clear()
        tasks = max(1000, field.peer(name).drain_tasks // 4)
        return {"rate": field.push(name, "noop", tasks if how == "many" else 2000, how)}

    return measure


def _drains() -> Iterator[Scenario]:
    units = {"rate": "tasks/s", "cpu": "us CPU a task", "memory": "MiB"}
    for slots in (100, 10):
        for form, text in ((COROUTINE, "coroutines"), (PLAIN, "plain functions")):
            name = f"drain{slots}" if form == COROUTINE else f"drain{slots}-{form}"
            text = f"No-op {text}, {slots} at once"
            yield Scenario(name, text, units, True, _drain(slots, form), form)


WAITS = {"p50": "ms p50", "p99": "ms p99"}
SCENARIOS = (
    *_drains(),
    Scenario(
        "process",
        f"{BURN_S * 1000:g} ms of CPU a task in processes, {BURN_SLOTS} slots",
        {"rate": "tasks/s"},
        True,
        _burn,
        PROCESS,
    ),
    Scenario(
        "pickup",
        "Idle pick-up at 50 tasks/s",
        WAITS,
        False,
        _pick_up("stamped", PICK_UPS, PICK_UP_RATE),
    ),
    Scenario(
        "loaded",
        "Pick-up at 500 tasks/s of 10 ms, 10 at once: half of what it can do",
        WAITS,
        False,
        _pick_up("loaded", LOADED, LOADED_RATE),
    ),
    Scenario(
        "waits", "10 ms waits, 100 at once (ideal 10,000/s)", {"rate": "tasks/s"}, True, _waits
    ),
    Scenario("mix", f"The demo mix, {MIX_SLOTS} at once", {"over": "% over ideal"}, False, _mix),
    Scenario("enqueue", "Enqueue one by one", {"rate": "tasks/s"}, True, _enqueue("one")),
    Scenario("bulk", "Enqueue in bulk", {"rate": "tasks/s"}, True, _enqueue("many")),
)
RECOVER = "recover"


def recover(field: Field, names: list[str], told: Callable[[str], None]) -> dict[str, Samples]:
    """Seconds from kill -9 of a worker to the second start of its task; all peers side by side.

    It is waiting, not work, so they may share the machine; each has a database of its own.
    """
    found = {name: Samples() for name in names}

    def one(index_and_name: tuple[int, str]) -> None:
        database, name = index_and_name
        try:
            value = _recovery_s(field, name, database)
        except MeasureFailed as failed:
            found[name].failures.append(str(failed).partition(";")[0])
            told(f"{name}: {failed}")
            return
        found[name].values.append(value)
        told(f"{name}: again after {value:.1f} s")

    with ThreadPoolExecutor(max_workers=len(names) or 1) as pool:
        list(pool.map(one, enumerate(names, start=1)))
    return found


def _recovery_s(field: Field, name: str, database: int) -> float:
    out = field.fresh_out(f"{name}-recover")
    field.push(name, "hang", 1, "one", database=database)
    with field.worker(name, 2, 0, database=database, out=out) as first:
        first.started(1, 30)
        first.kill()
        killed = time.monotonic()
    with field.worker(name, 2, 0, database=database, out=out) as second:
        return second.started(2, RECOVER_S) - killed
