"""The result of a run as types: what a saved file holds, and what every report is made from.

The JSON Schema of the file is made from these types (`store.schema`). A new field may be added
under the same version if it has a default; a field is never changed or removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from taskrig_loadgen.load.mix import ALL
from taskrig_loadgen.maths.stats import PERCENTILES
from taskrig_loadgen.quantity import show_s

FORMAT: Final = "taskrig-loadgen-result"
VERSION: Final = 1

# Where a task that was sent can be in the end: the parts of `sent`.
PARTS = (
    "succeeded",
    "failed",
    "dead",
    "waiting",
    "in_flight",
    "delayed",
    "lost",
    "gone",
    "unknown",
)

# What a task can have come to, and what only completion records tell.
ENDS = ("succeeded", "failed", "dead", "lost", "bad")
RECORDED = ("duplicates", "lost_claims", "interrupted", "retried")

Count = Annotated[int, Meta(ge=0)]
# Left out, never null, where there are too few samples to know it.
Figure = Annotated[float | None, Meta(extra_json_schema={"type": "number"})]
Text = Annotated[str | None, Meta(extra_json_schema={"type": "string"})]
Basis = Literal["nominal", "measured", "unknown"]  # of the ideal time: where services came from


class LoadShape(Struct, kw_only=True):
    """What was sent, and when: enough to repeat the run, and to tell it from another."""

    mix: dict[str, Annotated[int, Meta(ge=1)]]
    repeat: Count
    profile: str | None
    arrivals: str
    seed: int
    order: Literal["smooth", "shuffled"]
    warmup_s: float
    data_bytes: dict[str, Count]


class Environment(Struct, kw_only=True):
    """What the run ran on."""

    cpu: str = ""
    cores: int | None = None
    load_average: list[float] = []
    os: str = ""
    python: str = ""
    libraries: dict[str, str] = {}
    server: dict[str, str] = {}
    redis_url: str = ""
    config_hash: str = ""
    git_commit: str = ""


class Clock(Struct, kw_only=True):
    """How well the generator knew the time of the Redis server."""

    offset_error_s: float
    drift_s: Annotated[
        float | None, Meta(description="null where Redis was out of reach at the end")
    ]
    anomalies: Annotated[Count, Meta(description="values at or below 0, kept in the series")]


class Accounting(Struct, kw_only=True):
    """What became of this run's tasks.

    sent = succeeded + failed + dead + waiting + in_flight + delayed + lost + gone (watched from
    outside) + unknown (could not be looked for at the end)
    """

    sent: Count
    succeeded: Count
    failed: Count
    dead: Count
    waiting: Count
    in_flight: Count
    delayed: Count
    lost: Count
    gone: Count
    unknown: Count = 0
    duplicates: Count
    lost_claims: Count
    interrupted: Count
    retried: Count
    unconfirmed: Count
    never_arrived: Count
    refused: Count
    foreign_records: Count = 0
    unsent: Count

    @property
    def offered(self) -> int:
        """Tasks that Redis was asked to take, also those that it refused or never got."""
        return self.sent + self.refused + self.never_arrived

    @property
    def bad(self) -> int:
        """Tasks that did not succeed and will not: of every kind."""
        return self.failed + self.dead + self.lost + self.never_arrived + self.refused

    @property
    def left(self) -> int:
        """Tasks that have not ended and are still in the queue."""
        return self.waiting + self.in_flight + self.delayed

    @property
    def parts(self) -> dict[str, int]:
        """Where the tasks sent are in the end: `sent` is the sum."""
        return {name: getattr(self, name) for name in PARTS}


class LeftOut(Struct, kw_only=True):
    """What the warm-up leaves out of every figure and share; the accounting covers it."""

    seconds: float
    counts: dict[str, Count]  # by the words of the accounting

    @property
    def text(self) -> str:
        """As every report says it."""
        return f"warm-up: the first {self.seconds:g} s ({self.counts['sent']:,} tasks) left out"


class Totals(Struct, kw_only=True):
    """Figures of the run as a whole, after the warm-up; null where one is not known.

    Tasks done are those that succeeded.
    """

    makespan_s: float | None
    serial_s: float | None
    ideal_s: float | None
    ideal_basis: Basis
    concurrency: Count
    workers: Count
    offered_per_s: float | None
    achieved_per_s: float | None
    done_per_s: float | None
    send_s: float
    drain_s: float | None
    drained_per_s: float | None
    flat_out_per_s: float | None = None
    measured_due: int | None = None
    measured_started: int | None = None
    slot_overhead_s: float | None
    pickup_s: float | None
    lag_s: float | None = None
    cpu_s: float | None = None  # of the workers' processes, a task
    memory_bytes: int | None = None  # the most that one worker's process had


class Figures(Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A series in figures: percentiles only where the count supports them.

    hdr: an HDR histogram in microseconds, compressed, base64
    """

    count: Count
    mean: Figure = None
    stddev: Figure = None
    min: Figure = None
    max: Figure = None
    p50: Figure = None
    p90: Figure = None
    p95: Figure = None
    p99: Figure = None
    p99_9: Figure = field(default=None, name="p99.9")
    p99_99: Figure = field(default=None, name="p99.99")
    hdr: Text = None

    @property
    def is_whole(self) -> bool:
        """Whether what every sample adds to is there."""
        every = (self.mean, self.stddev, self.min, self.max, self.hdr)
        return not self.count or None not in every

    def get(self, statistic: str) -> float | None:
        """The statistic of this name ("mean", "p99.9"), as users and reports write it."""
        value: float | None = getattr(self, statistic.replace(".", "_"))
        return value

    def text(self, statistic: str) -> str:
        """The statistic for people; "< 10" where too few samples lie beyond a percentile."""
        value = self.get(statistic)
        return (
            "< 10" if value is None and self.count and statistic in PERCENTILES else show_s(value)
        )


class TypeSeries(Struct, kw_only=True, forbid_unknown_fields=True):
    """The five series of one type, in seconds."""

    send_lag: Figures
    wait: Figures
    service: Figures
    e2e: Figures
    e2e_raw: Figures

    def get(self, name: str) -> Figures:
        """The series of this name, as users and reports write it."""
        figures: Figures = getattr(self, name)
        return figures

    def items(self) -> Iterator[tuple[str, Figures]]:
        """Every series with its name."""
        return ((name, self.get(name)) for name in SERIES)


SERIES = TypeSeries.__struct_fields__


class TimelineRow(Struct, kw_only=True):
    """What happened in one second of the run."""

    second: Count
    offered: Count
    sent: Count
    done: Count
    failed: Count = 0
    busy_slots: float
    e2e_p50: float | None = None
    e2e_p90: float | None = None
    e2e_p99: float | None = None
    e2e_max: float | None = None
    wait_p50: float | None = None
    wait_p90: float | None = None
    wait_p99: float | None = None
    wait_max: float | None = None
    waiting: int | None
    in_flight: int | None
    concurrency: int | None


class Service(Struct, kw_only=True):
    """How long the handlers take."""

    mean: float
    stddev: float


class MeasuredService(Service, kw_only=True):
    """... with the distribution: an HDR histogram as in the series."""

    count: Count
    hdr: str


class SlotUse(Struct, kw_only=True):
    """How long a task takes a slot: its handler, and what the worker needs around it."""

    service: Service
    turnaround_s: float  # from the end of a handler to the next start on its slot
    pickup_s: float  # from the queue to the start on a free slot
    lag_s: float  # from the intended time to the queue


class Calibration(SlotUse, kw_only=True):
    """What a short run before this one has shown of services and overheads."""

    service: MeasuredService
    run_id: str = ""
    tasks: Count
    rate_per_s: float | None = None
    slots: Count
    workers: Count = 0
    cpu_s: float | None = None  # of a worker's process, a task
    memory_bytes: int | None = None  # the most that one worker's process had


class Forecast(SlotUse, kw_only=True):
    """All that the prediction was made of, fixed before the first task was sent."""

    made_from: str = field(name="from")
    rate_per_s: float
    arrivals: str
    slots: Count


class Judged(Struct, kw_only=True, forbid_unknown_fields=True):
    """An expectation, what the figure was, and whether it is as expected."""

    text: str
    value: float | None
    shown: str
    ok: bool


class Away(Struct, kw_only=True):
    """A time in which Redis did not answer: nothing is known of the queue."""

    at_s: float  # since the start
    length_s: float
    looks: Count

    @property
    def end_s(self) -> float:
        """When it answered again, in seconds since the start."""
        return self.at_s + self.length_s

    @property
    def text(self) -> str:
        """As every report says it."""
        return (
            f"Redis was away for {show_s(self.length_s)} from second {self.at_s:.1f} on "
            f"({self.looks:,} looks without an answer)"
        )


class Verdict(Struct, kw_only=True):
    """What may and may not be believed about the run, with the reasons in words."""

    complete: bool
    saturated: bool
    overloaded: bool
    no_worker: bool
    reasons: list[str]
    notes: list[str] = []
    exit_code: int | None = None


class Trial(Struct, kw_only=True):
    """A rate that a search has tried."""

    rate_per_s: float
    hold: bool  # a longer one, which decides
    value: float | None  # of the figure that the SLO bounds
    why: str  # it does not hold; empty: it does


class Searched(Struct, kw_only=True):
    """What a search for the highest rate has tried and found."""

    slo: str
    flat_out_per_s: float
    trials: list[Trial]
    answer_per_s: float | None  # null: none held
    why: str  # this answer and no other
    planned_per_s: float | None = None  # from the calibration before the first trial


class Outside(Struct, kw_only=True, omit_defaults=True):
    """What was learnt by watching from outside, for workers without completion records."""

    mode: str
    cannot: str
    emptied_s: float | None
    mean_wait_s: float | None
    types: dict[str, dict[str, float]]
    note: Text = None


class Result(Struct, kw_only=True):
    """Durations are in seconds, times in Unix seconds on the Redis server's clock.

    New fields may be added under the same version; a field is never changed or removed.
    """

    format: Literal["taskrig-loadgen-result"] = FORMAT
    version: Literal[1] = VERSION
    kind: str
    run_id: str
    started: float
    started_text: str
    command: list[str]
    queue: str
    workload: LoadShape
    environment: Environment
    clock: Clock
    accounting: Accounting
    totals: Totals
    series: Annotated[
        dict[str, TypeSeries], Meta(description='type (and "all") -> series -> figures')
    ]
    failed_series: Annotated[
        dict[str, TypeSeries] | None,
        Meta(description="the same of tasks that failed; null: `series` is of these too"),
    ] = None
    left_out: Annotated[LeftOut | None, Meta(description="null without a warm-up")] = None
    timeline: list[TimelineRow]
    calibration: Annotated[Calibration | None, Meta(description="null without one")] = None
    forecast: Annotated[Forecast | None, Meta(description="null where none was made")] = None
    search: Annotated[
        Searched | None, Meta(description="of `loadgen search`: this run is its last hold or trial")
    ] = None
    interrupted: bool
    followed: bool
    outages: Count
    away: list[Away] = []
    unsearched: Annotated[
        str | None,
        Meta(description="why the tasks that are unknown were not searched for; null: all were"),
    ] = None
    send_errors: dict[str, Count]
    expectations: list[Judged]
    verdict: Verdict
    outside: Outside | UnsetType = UNSET

    @property
    def overall(self) -> TypeSeries:
        """The series of all types together."""
        return self.series[ALL]

    def cannot_tell(self, name: str) -> str:
        """Why this word of the accounting is not known; empty: it is."""
        books = self.accounting
        if books.unknown and name in (*ENDS, "waiting", "in_flight", "delayed"):
            return f"not known: {books.unknown:,} tasks could not be looked for"
        watched = self.outside is not UNSET
        if watched and (name in RECORDED or (books.gone and name in ENDS)):
            return "not known: the run was watched from outside (--observe)"
        return ""

    def share(self, name: str, of: str = "offered") -> float | None:
        """A word of the accounting as a share of another, after the warm-up.

        None where it is not known, not counted apart from the warm-up, or a share of nothing.
        """
        count, whole = self.measured(name), self.measured(of)
        return count / whole if count is not None and whole else None

    def measured(self, name: str) -> int | None:
        """A word of the accounting after the warm-up; None where it is not known."""
        count: int = getattr(self.accounting, name)
        if self.cannot_tell(name):
            return None
        if self.left_out is None:
            return count
        out = self.left_out.counts.get(name)
        return None if out is None else count - out

    @property
    def failed_share(self) -> float:
        """Share of the tasks offered that did not succeed, of every kind; 0 of none."""
        return self.share("bad") or 0.0
