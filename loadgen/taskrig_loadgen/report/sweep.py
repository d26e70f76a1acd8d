"""A sweep over concurrencies: its document, its table, its page. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from html import escape

from msgspec import Struct
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from taskrig_loadgen.maths.queueing import fit_scaling
from taskrig_loadgen.quantity import axis_s, show_rate, show_s
from taskrig_loadgen.report import markdown
from taskrig_loadgen.report.page import facts, frame, section, table
from taskrig_loadgen.report.svg import Line, line_chart
from taskrig_loadgen.result.model import Environment, LoadShape, Result

FORMAT, VERSION = "taskrig-loadgen-sweep", 1

_NOTE = (
    "Ideal: the list schedule of the tasks in pushed order, with no overhead at all. "
    "Efficiency: ideal over measured. Speed-up: against one task after another."
)


class Point(Struct, kw_only=True):
    """The median run of one number of slots."""

    concurrency: int
    runs: int
    makespan_s: float
    ideal_s: float
    serial_s: float
    efficiency: float
    speedup: float
    done_per_s: float


class Law(Struct, kw_only=True):
    """The Universal Scalability Law as fitted; best_slots is null where more never slow it down."""

    single_per_s: float
    contention: float
    chatter: float
    best_slots: float | None


class Sweep(Struct, kw_only=True):
    """What is written as JSON."""

    format: str = FORMAT
    version: int = VERSION
    workload: LoadShape | None
    environment: Environment | None
    points: list[Point]
    scaling: Law | None
    runs: list[Result]


def make_sweep(runs: list[Result]) -> Sweep:
    """Points by concurrency (the median run of each), the scaling law where it can be fitted.

    A run that did not come to its end is among the runs, and no point: its makespan is of a part.
    """
    by_slots: dict[int, list[Result]] = {}
    for run in runs:
        timed = run.totals.makespan_s is not None and run.totals.ideal_s
        if timed and run.verdict.complete:
            by_slots.setdefault(run.totals.concurrency, []).append(run)
    points = [_point(slots, group) for slots, group in sorted(by_slots.items())]
    return Sweep(
        workload=runs[0].workload if runs else None,
        environment=runs[0].environment if runs else None,
        points=points,
        scaling=_scaling(points),
        runs=runs,
    )


def _point(slots: int, runs: list[Result]) -> Point:
    totals = runs[0].totals
    ideal_s, serial_s = totals.ideal_s or 0.0, totals.serial_s or 0.0
    makespan_s = statistics.median(run.totals.makespan_s or 0.0 for run in runs)
    return Point(
        concurrency=slots,
        runs=len(runs),
        makespan_s=makespan_s,
        ideal_s=ideal_s,
        serial_s=serial_s,
        efficiency=ideal_s / makespan_s,
        speedup=serial_s / makespan_s,
        done_per_s=runs[0].accounting.succeeded / makespan_s,
    )


def _scaling(points: list[Point]) -> Law | None:
    """A fit of the Universal Scalability Law: only where the work outlasts the slots.

    Seven tasks cannot use ten slots: such a point says nothing about scaling.
    """
    usable = [p for p in points if p.serial_s / p.concurrency > 0.6 * p.ideal_s]
    try:
        law = fit_scaling([(p.concurrency, p.done_per_s) for p in usable])
    except ValueError:
        return None
    best = law.best_slots
    return Law(
        single_per_s=law.single,
        contention=law.contention,
        chatter=law.chatter,
        best_slots=best if best < 1e6 else None,
    )


_HEAD = ["slots", "makespan", "ideal", "over ideal", "efficiency", "speed-up", "tasks/s"]


def _rows(sweep: Sweep) -> list[list[str]]:
    return [
        [
            str(p.concurrency),
            show_s(p.makespan_s),
            show_s(p.ideal_s),
            f"{(p.makespan_s / p.ideal_s - 1) * 100:+.1f} %",
            f"{p.efficiency * 100:.1f} %",
            f"{p.speedup:.2f}x",
            show_rate(p.done_per_s),
        ]
        for p in sweep.points
    ]


def _law(sweep: Sweep) -> str:
    law = sweep.scaling
    if law is None:
        return ""
    best = f"; fastest at {law.best_slots:.0f} slots" if law.best_slots else ""
    return (
        f"Universal Scalability Law: {show_rate(law.single_per_s)} on one slot, contention "
        f"{law.contention * 100:.2f} %, coherency {law.chatter * 100:.4f} %{best}"
    )


def render(sweep: Sweep) -> Iterator[RenderableType]:
    """The table for a terminal."""
    yield Text(f"one task after another: {show_s(sweep.points[0].serial_s)}", style="bold")
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name in _HEAD:
        grid.add_column(name, justify="right")
    for row in _rows(sweep):
        grid.add_row(*row)
    yield grid
    if _law(sweep):
        yield Text(_law(sweep))


def summary(sweep: Sweep) -> str:
    """A short summary for a CI."""
    rows = markdown.table(_HEAD, _rows(sweep), texts=0)
    return f"### loadgen sweep\n\n{rows}\n{_NOTE} {_law(sweep)}".strip() + "\n"


def page(sweep: Sweep) -> str:
    """The sweep as one self-contained page."""
    points = sweep.points
    mix = sweep.workload.mix if sweep.workload else {}
    title = "loadgen sweep: " + ", ".join(f"{n}={c}" for n, c in mix.items())
    body = [f"<h1>{escape(title)}</h1>", '<p class="dim">one mix, serial against concurrent</p>']
    if points:
        best = min(points, key=lambda p: p.makespan_s)
        body.append(
            facts(
                [
                    ("one after another", show_s(best.serial_s)),
                    (f"on {best.concurrency} slots", show_s(best.makespan_s)),
                    ("ideal there", show_s(best.ideal_s)),
                    ("speed-up", f"{best.speedup:.2f}x"),
                ]
            )
        )
        xs = [float(p.concurrency) for p in points]
        ticks = [(x, f"{x:.0f}") for x in xs]
        makespan = line_chart(
            "makespan by number of slots, measured and ideal",
            xs,
            [
                Line("one after another", "s6", [p.serial_s for p in points]),
                Line("ideal", "s3", [p.ideal_s for p in points]),
                Line("measured", "s1", [p.makespan_s for p in points]),
            ],
            x_format=lambda x: f"{x:.0f} slots",
            y_format=show_s,
            y_axis=axis_s,
            x_ticks=ticks,
            x_label="slots",
        )
        efficiency = line_chart(
            "efficiency by number of slots",
            xs,
            [Line("ideal over measured, %", "s4", [p.efficiency * 100 for p in points])],
            x_format=lambda x: f"{x:.0f} slots",
            y_format=lambda y: f"{y:.1f}",
            y_axis=lambda y: f"{y:.0f}",
            x_ticks=ticks,
            x_label="slots",
        )
        body.append(
            '<div class="grid2">'
            + section("Makespan", makespan)
            + section("Efficiency", efficiency)
            + section(
                "Figures",
                table(_HEAD, _rows(sweep), texts=0),
                wide=True,
                note=f"{_NOTE} {_law(sweep)}".strip(),
            )
            + "</div>"
        )
    return frame(title, "\n".join(body))
