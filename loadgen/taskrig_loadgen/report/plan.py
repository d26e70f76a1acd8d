"""A plan for people: a table over sizes of workers, and its page with the curves. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from taskrig_loadgen.analysis.planner import Demand, Plan, PlanRow, with_slots
from taskrig_loadgen.analysis.prediction import NO_PREDICTION
from taskrig_loadgen.quantity import axis_s, show_rate, show_s
from taskrig_loadgen.report.page import facts, frame, notice, section, table
from taskrig_loadgen.report.svg import Line, line_chart

HEAD = [
    "slots a worker",
    "workers",
    "slots",
    "busy",
    "wait p50",
    "wait p99",
    "at most",
    "one lost: busy",
    "wait p99",
    "CPU a worker",
    "memory",
    "KEDA target",
]
_STEPS = 40  # points of a curve


def _cells(row: PlanRow) -> list[str]:
    lost = row.one_lost
    return [
        f"{row.per_worker}",
        f"{row.workers:,}",
        f"{row.slots:,}",
        f"{row.utilization * 100:.0f} %",
        show_s(row.wait_p50_s),
        show_s(row.wait_p99_s),
        show_rate(row.max_rate_per_s),
        f"{lost.utilization * 100:.0f} %",
        "grows" if lost.wait_p99_s is None else show_s(lost.wait_p99_s),
        "-" if row.cpu_per_worker is None else f"{row.cpu_per_worker * 100:.0f} %",
        "-" if row.memory_bytes is None else f"{row.memory_bytes / 2**20:,.0f} MiB",
        f"{row.keda_target}",
    ]


def headline(plan: Plan) -> str:
    """The answer in a sentence."""
    best, asked = plan.recommended, plan.slo or "a bounded backlog"
    low, high = plan.workers_range or (best.workers, best.workers)
    count = f"{best.workers}" if low == high == best.workers else f"{low} to {high}"
    return (
        f"{show_rate(plan.rate_per_s)} with {asked}: {count} worker{'s' * (count != '1')} of "
        f"{best.per_worker} slots, also with one lost; at most {plan.headroom * 100:.0f} % busy"
    )


def notes(plan: Plan) -> list[str]:
    """What the table was made of, and why that row."""
    found = [
        f"recommended: {plan.why}",
        f"service {show_s(plan.service_s)} (cv² {plan.service_cv2:.2f}) of {plan.samples:,} tasks; "
        f"{plan.least_slots:,} slots are the fewest, with nothing in reserve",
        "KEDA: minReplicaCount is the number of workers, target is for waiting + in flight",
    ]
    if plan.rate_on_measured_slots_per_s is not None:
        most = show_rate(plan.rate_on_measured_slots_per_s)
        found.append(f"the {plan.measured_slots} slots of that run would keep it up to {most}")
    if plan.recommended.cpu_per_worker is None:
        found.append("CPU and memory of the workers were not measured: no row is limited by them")
    return [*found, *_trust(plan)]


def _trust(plan: Plan) -> Iterator[str]:
    if plan.trust is None:
        yield NO_PREDICTION
        return
    for row in plan.trust.rows:
        told, seen = row.predicted_s, row.measured_s
        if told is not None and seen is not None:
            text = (
                f"in that run, {row.figure}: {show_s(told)} predicted from {plan.trust.made_from}"
            )
            yield f"{text}, {show_s(seen)} measured"


def render(plan: Plan) -> Iterator[RenderableType]:
    """The plan for a terminal."""
    yield Text(headline(plan), style="bold")
    yield from (Text(f"a range, no number: {text}", style="yellow") for text in plan.warnings)
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name in HEAD:
        grid.add_column(name, justify="right")
    for row in plan.rows:
        grid.add_row(*_cells(row), style="green" if row is plan.recommended else "")
    yield grid
    yield from (Text(text, style="dim") for text in notes(plan))


def page(plan: Plan, demand: Demand) -> str:
    """The plan as one self-contained page, with the curves of the recommended workers."""
    title = f"loadgen plan: {show_rate(plan.rate_per_s)}"
    rows = [_cells(row) for row in plan.rows]
    for row, cells in zip(plan.rows, rows, strict=True):
        cells[0] = f"+ok {cells[0]}" if row is plan.recommended else cells[0]
    best = plan.recommended
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="dim">{escape(headline(plan))}</p>',
        *(notice(text, "warn") for text in plan.warnings),
        facts(
            [
                ("workers", f"{best.workers:,}"),
                ("slots each", f"{best.per_worker:,}"),
                ("busy", f"{best.utilization * 100:.0f} %"),
                ("wait p99", show_s(best.wait_p99_s)),
                ("at most", show_rate(best.max_rate_per_s)),
            ]
        ),
        '<div class="grid2">',
        section("Workers by size", table(HEAD, rows), wide=True, note=". ".join(notes(plan))),
        section("Wait p99 by number of workers", _by_workers(plan, demand)),
        section("Wait p99 by rate", _by_rate(plan, demand)),
        "</div>",
    ]
    return frame(title, "\n".join(body))


def _wait_s(demand: Demand, slots: int, rate: float) -> float | None:
    trial = with_slots(demand.at(rate).queue, slots)
    return trial.seen_wait_s(0.99) if slots and trial.stable else None


def _by_workers(plan: Plan, demand: Demand) -> str:
    best = plan.recommended
    least = max(1, math.floor(demand.queue.load / best.per_worker) + 1)
    step = max(1, (2 * best.workers - least) // _STEPS)
    xs = list(range(least, max(2 * best.workers, least + 2) + 1, step))
    waits = [_wait_s(demand, n * best.per_worker, plan.rate_per_s) for n in xs]
    name = f"wait p99 at {show_rate(plan.rate_per_s)} by number of workers"
    lines = [Line("wait p99", "s1", waits), *_bound(demand, len(xs))]
    return line_chart(
        name,
        list(map(float, xs)),
        lines,
        x_format=lambda x: f"{x:.0f} workers",
        y_format=show_s,
        y_axis=axis_s,
        log_y=True,
        x_ticks=[(float(x), f"{x}") for x in xs[:: max(1, len(xs) // 6)]],
        x_label="workers",
    )


def _by_rate(plan: Plan, demand: Demand) -> str:
    best = plan.recommended
    xs = [best.max_rate_per_s * n / _STEPS for n in range(1, _STEPS + 1)]
    full = [_wait_s(demand, best.slots, rate) for rate in xs]
    less = [_wait_s(demand, best.slots - best.per_worker, rate) for rate in xs]
    lines = [
        Line(f"{best.workers} workers", "s1", full),
        Line("one lost", "s2", less),
        *_bound(demand, len(xs)),
    ]
    return line_chart(
        "wait p99 by rate, with all workers and with one lost",
        xs,
        lines,
        x_format=show_rate,
        y_format=show_s,
        y_axis=axis_s,
        log_y=True,
    )


def _bound(demand: Demand, count: int) -> list[Line]:
    slo = demand.slo
    shown = slo is not None and slo.name == "wait" and slo.statistic == "p99"
    return [Line("SLO", "s6", [slo.bound] * count)] if slo is not None and shown else []
