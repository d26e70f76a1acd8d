"""Results of runs that never were, for what is made from results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from taskrig_loadgen.analysis.prediction import measured_calibration, predict
from taskrig_loadgen.load.mix import parse_mix
from taskrig_loadgen.load.pacer import constant
from taskrig_loadgen.load.workload import Workload
from taskrig_loadgen.queueview import Worker
from taskrig_loadgen.result.build import make_result
from taskrig_loadgen.result.ledger import Ledger
from taskrig_loadgen.result.model import Away, Calibration, Environment, Judged, Outside, Result
from taskrig_loadgen.result.record import RunRecord, SendReport, Whereabouts
from taskrig_loadgen.result.store import parse

HOSTILE = "<script>alert(1)</script>|[bold]x\"'&"


def typed(document: dict[str, Any]) -> Result:
    """The result that a command has printed."""
    return parse(json.dumps(document), "stdout")


def a_calibration(rate: float) -> Calibration:
    """What a short run before the one that counts has shown."""
    found = measured_calibration(a_result(rate=rate))
    assert found is not None
    return found


def a_result(
    mix: str = "a=3,b=1",
    *,
    rate: float = 0,
    count: int = 400,
    wait_s: float = 0.01,
    calibrated: bool = False,
    failed: float = 0.0,
    warmup_s: float = 0.0,
    away: Sequence[Away] = (),
    gone: bool = False,
) -> Result:
    """A result of a run in which every task waits `wait_s` and takes 20 ms.

    The `failed` share of them fails, spread evenly, and at once: after 0.1 ms instead. With
    `gone` depths alone were watched, and all have left the queue.
    """
    profile = constant(rate, count / rate) if rate else None
    workload = Workload(mix=parse_mix(mix), profile=profile, repeat=count // 4, warmup_s=warmup_s)
    ledger = Ledger(workload.mix.types)
    gap = 1 / rate if rate else 0.0
    for number, kind in zip(range(count), workload.kinds(), strict=False):
        at = 1000.0 + number * gap
        ledger.confirm(ledger.add([kind], [at], at + 0.001), at + 0.002)
        if gone:
            continue
        start = at + wait_s
        fails = int((number + 1) * failed) > int(number * failed)
        outcome, service_s = ("failed", 0.0001) if fails else ("succeeded", 0.02)
        if fails:
            start = at + 0.0021
        end = start + service_s
        ledger.record(f"{number} {outcome} {start} {end} w 0 0 {end + 0.001}".encode())
    view = SimpleNamespace(
        at=1000.5, waiting=3, in_flight=2, concurrency=5, workers=(Worker("w", "test", 1, 5, 0),)
    )
    calibration = a_calibration(rate) if calibrated else None
    record = RunRecord(
        calibration=calibration,
        forecast=predict(workload, 5, calibration),
        kind="run" if rate else "mix",
        run_id="r",
        command=["loadgen", HOSTILE],
        started=1000.0,
        queue=HOSTILE,
        workload=workload,
        ledger=ledger,
        where=Whereabouts(0, 0, 0, 0, 0, gone=count, missing=tuple(range(count)))
        if gone
        else Whereabouts(0, 0, 0, 0, 0),
        views=[view],
        send=SendReport(),
        away=list(away),
        interrupted=False,
        followed=True,
        clock_error_s=1e-5,
        clock_drift_s=1e-6,
        environment=Environment(cpu=HOSTILE, server={"v": HOSTILE}),
        outside=Outside(mode="queue", cannot="more", emptied_s=4.0, mean_wait_s=0.01, types={})
        if gone
        else None,
    )
    result = make_result(record)
    result.expectations = [Judged(text=HOSTILE, value=1.0, shown="1", ok=False)]
    return result
