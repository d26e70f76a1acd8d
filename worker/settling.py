"""What Redis is told of an execution that ended."""

from __future__ import annotations

import math
from collections.abc import Callable

from worker.executor import Execution
from worker.gate import held_name
from worker.task import Outcome, Settlement

_UNRUN = (Outcome.DELAYED, Outcome.HELD)  # no execution: no completion record


def settlement_of(execution: Execution, redis_time: Callable[[float], float]) -> Settlement:
    """The settlement of an execution that has an outcome.

    `redis_time` takes `time.monotonic()` seconds to Unix seconds by the server's clock.
    """
    task, outcome = execution.task, execution.outcome
    assert outcome is not None
    settlement = Settlement(execution.delivery.tag, outcome)
    if outcome is not Outcome.SUCCEEDED:
        settlement.type = task.type if task is not None else ""
        settlement.reason, settlement.error = execution.reason, execution.error
        if outcome is Outcome.FAILED or outcome is Outcome.DEAD:
            trace = getattr(execution, "trace", None)
            settlement.traceback = trace.text if trace is not None else ""
        if outcome is Outcome.RETRIED or outcome is Outcome.DELAYED:
            settlement.reason = str(math.ceil(execution.later_s * 1000))
        elif outcome is Outcome.HELD:
            # Of a paused type the executor has named the list already.
            settlement.type, settlement.error = execution.error or held_name(execution), ""
    if task is not None and task.run is not None and outcome not in _UNRUN:
        run, index = task.run
        start, end = redis_time(execution.started), redis_time(execution.ended)
        worker = execution.delivery.tag.partition(":")[0]
        settlement.run = run
        settlement.record = (
            f"{index} {outcome.value} {start:.6f} {end:.6f} {worker} "
            f"{execution.delivery.deliveries + 1}"
        )
    return settlement


def newest_first(execution: Execution) -> tuple[float, int]:
    """The order in which released tasks go to the front, each before those that went there."""
    return -execution.taken, -int(execution.delivery.tag.rpartition(":")[2])
