"""What a run has seen, before it is turned into figures."""

from __future__ import annotations

from dataclasses import dataclass, field

from taskrig_loadgen.load.workload import Workload
from taskrig_loadgen.queueview import QueueView
from taskrig_loadgen.result.ledger import Ledger
from taskrig_loadgen.result.model import Away, Calibration, Environment, Forecast, Outside


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where this run's unfinished tasks are; what was looked for and is nowhere was lost."""

    waiting: int
    in_flight: int
    delayed: int
    lost: int
    never_arrived: int  # unconfirmed pushes that are nowhere: most likely never tasks
    gone: int = 0  # seen from outside only: no longer in the queue, more is not known
    unknown: int = 0  # could not be looked for
    unsearched: str = ""  # why not
    missing: tuple[int, ...] = ()  # the numbers of those that were lost or never arrived


@dataclass(slots=True)
class SendReport:
    """What became of the pushes, beyond what the ledger holds."""

    refused: int = 0  # Redis answered with an error: never tasks
    gave_up: bool = False  # not all had been sent when the schedule, or our patience, was over
    errors: dict[str, int] = field(default_factory=dict)  # text -> batches

    def note(self, error: BaseException) -> None:
        """Count an error by its text (at most 20 different ones)."""
        text = " ".join(str(error).split())[:200] or type(error).__name__
        if text in self.errors or len(self.errors) < 20:
            self.errors[text] = self.errors.get(text, 0) + 1


@dataclass(slots=True, kw_only=True)
class RunRecord:
    """Everything a run has seen."""

    kind: str
    run_id: str
    command: list[str]
    started: float
    queue: str
    workload: Workload
    ledger: Ledger
    where: Whereabouts
    views: list[QueueView]
    send: SendReport
    away: list[Away]
    interrupted: bool
    followed: bool
    clock_error_s: float
    clock_drift_s: float | None
    environment: Environment = field(default_factory=Environment)
    calibration: Calibration | None = None  # measured before the run, apart from it
    forecast: Forecast | None = None  # the inputs of a prediction, fixed before the run
    outside: Outside | None = None  # what was seen without completion records
