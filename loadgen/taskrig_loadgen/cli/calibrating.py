"""Short experiments before the one that counts: what do the workers do, and what does it cost?

A calibration is apart from what it is for: its tasks are others, and are over before the first
task of the run is sent. So a prediction made from it cannot know what the run will measure.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from taskrig.broker import QueueCommands
from taskrig.config.sections import Config
from taskrig.errors import TaskrigError, UsageError
from taskrig.frame.output import remark
from taskrig_loadgen.analysis.prediction import measured_calibration
from taskrig_loadgen.cli.asking import Asked
from taskrig_loadgen.cli.live import conduct
from taskrig_loadgen.connection import clear_errors, connected
from taskrig_loadgen.load.pacer import Arrivals, constant
from taskrig_loadgen.load.workload import Workload
from taskrig_loadgen.quantity import show_rate, show_s
from taskrig_loadgen.queueview import look
from taskrig_loadgen.result.model import Calibration, Result
from taskrig_loadgen.result.verdict import untrusted
from taskrig_loadgen.run.experiment import Experiment

PROBE_S = 1.0  # least length of a flat-out drain that is believed
# Of the flat-out rate. Some tasks wait for a slot and some slots for a task, so both costs show;
# and it is near full load that waits depend on them.
LOAD = 0.9
LEAST_S = 5.0  # of the calibration
MOST_S = 30.0
ENOUGH = 200  # tasks of a calibration, unless they take longer than MOST_S
SEED = 7919  # added to the workload's: a calibration has a schedule of its own


class NothingToMeasure(TaskrigError):
    """A rate of failing tasks, or one measured while Redis was away, is not a capacity."""

    exit_code = 99


@dataclass(slots=True)
class Calibrator:
    """Runs one workload in several ways, one after another; knows when one was cut short."""

    config: Config
    workload: Workload
    kind: str
    interrupted: bool = False
    calibration: Calibration | None = None
    latest: Result | None = None
    ask_first: Asked | None = None  # before the first push of the first experiment
    untrusted: str = ""  # why the latest says nothing of what the workers can do

    async def conduct(self, workload: Workload) -> Result:
        """One experiment without a live view, and a moment for the workers to fall idle."""
        ask_first, self.ask_first = self.ask_first, None
        experiment = Experiment(
            self.config, workload, kind=self.kind, calibration=self.calibration, ask_first=ask_first
        )
        result = await conduct(experiment, workload, self.config.queue.key, quiet=True)
        self.untrusted = untrusted(result)
        # A Redis that went away for good ends a series of experiments as Ctrl-C does.
        self.latest, self.interrupted = result, result.interrupted or result.accounting.unknown > 0
        await asyncio.sleep(0.2)  # so that experiments do not touch
        return result

    async def calibrated(self) -> Calibration | None:
        """Drain a short backlog, then measure at a part of that rate; None when interrupted.

        Raises:
            UsageError: there is no live worker, or they finished nothing.
        """
        flat_out = await self.flat_out()
        if not self.interrupted:
            await self.calibrate(flat_out)
        return self.calibration

    async def flat_out(self) -> float:
        """What the workers do flat out (tasks a second), measured with a short backlog.

        0 when it was interrupted.

        Raises:
            UsageError: there is no live worker, or they finished nothing.
        """
        slots = await self._slots()
        mix = self.workload.mix.reduced()
        count, rate = max(8 * slots, 50), 0.0
        for _ in range(3):  # short tasks need more of them to fill a second
            probe = replace(
                self.workload,
                mix=mix,
                profile=None,
                repeat=max(1, -(-count // mix.total)),
                warmup_s=0.0,  # all are due at once: nothing would be left
            )
            totals = (await self.conduct(probe)).totals
            rate = totals.flat_out_per_s or totals.drained_per_s or 0.0
            if (totals.drain_s or 0) > PROBE_S or self.interrupted or self.untrusted:
                break
            count = int(max(2 * count, min(10 * count, 1.5 * PROBE_S * rate)))
        if self.interrupted:
            return 0.0
        if self.untrusted:
            raise NothingToMeasure(f"no capacity in that: {self.untrusted}")
        if not rate:
            raise UsageError("the workers finished none of the probe's tasks; see loadgen monitor")
        remark(f"flat out the workers do {show_rate(rate)} on {slots} slots")
        return rate

    async def _slots(self) -> int:
        config = self.config
        async with connected(config) as client:
            with clear_errors(config):
                view = await look(client, QueueCommands(config))
        if not view.concurrency:
            raise UsageError(f"no live worker on {config.queue.key!r}; start one with: worker run")
        return view.concurrency

    async def calibrate(self, flat_out: float) -> None:
        """Measure services and overheads at a part of the flat-out rate (tasks a second)."""
        rate = LOAD * flat_out
        length_s = min(max(LEAST_S, ENOUGH / rate), MOST_S)
        remark(f"calibrating: {show_rate(rate)} for {show_s(length_s)}")
        result = await self.conduct(
            replace(
                self.workload,
                profile=constant(rate, length_s),
                arrivals=Arrivals("poisson"),
                seed=self.workload.seed + SEED,
                warmup_s=0.0,
            )
        )
        if self.untrusted and not self.interrupted:
            raise NothingToMeasure(f"the calibration cannot be used: {self.untrusted}")
        self.calibration = found = None if self.interrupted else measured_calibration(result)
        if found is not None:
            remark(
                f"calibrated with {found.tasks:,} tasks: service {show_s(found.service.mean)}, "
                f"turnaround {show_s(found.turnaround_s)}, "
                f"pick-up {show_s(found.pickup_s)}, send lag {show_s(found.lag_s)}"
            )
