"""A result as one self-contained HTML page. Pure: made from the document alone."""

from __future__ import annotations

import math
import shlex
from html import escape
from typing import Any

from msgspec import UNSET
from msgspec.structs import asdict

from taskrig_loadgen.analysis.expectations import parse_expectation
from taskrig_loadgen.analysis.prediction import NO_PREDICTION, predicted
from taskrig_loadgen.maths.histogram import curve
from taskrig_loadgen.maths.stats import MIN_BEYOND, PERCENTILES, supported
from taskrig_loadgen.quantity import axis_s, show_rate, show_s
from taskrig_loadgen.report.page import definitions, facts, frame, notice, section, table
from taskrig_loadgen.report.svg import Bar, Line, bar_chart, legend, line_chart
from taskrig_loadgen.result.model import PARTS, Result, Searched, TimelineRow, TypeSeries
from taskrig_loadgen.result.verdict import checks, exit_code

POINTS = 600  # of a line over time: more are no wider than a pixel each
TYPES = 100  # of bars
_COLUMNS = ("mean", "p50", "p90", "p99", "p99.9", "max")
_KINDS = {
    "mix": "a mix pushed at once",
    "run": "a load at its own rate",
    "drain": "a backlog drained",
}


def page(result: Result) -> str:
    """The whole page as text."""
    workload = result.workload
    mix = ", ".join(f"{name}={count}" for name, count in workload.mix.items())
    title = f"loadgen {result.kind}: {mix}"
    how = f"{workload.profile} ({workload.arrivals})" if workload.profile else "at once"
    body = [
        f"<h1>{_safe(title)}</h1>",
        f'<p class="dim">{_safe(_KINDS.get(result.kind, result.kind))}, {_safe(how)}; '
        f"{_safe(result.started_text)}, queue {_safe(result.queue)}</p>",
        *_notices(result),
        facts(_facts(result)),
        '<div class="grid2">',
        *_searched(result.search),
        *_charts(result),
        section("Latency", _latency(result.series), wide=True, note=_LATENCY_NOTE),
        *_failed(result),
        section("Accounting", _accounting(result)),
        *_judged(result),
        *_forecast(result),
        *_outside(result),
        section("Environment", _environment(result), wide=True),
        "</div>",
    ]
    return frame(title, "\n".join(body))


_LATENCY_NOTE = (
    "Latencies count from the intended time of each task; e2e_raw, from the actual send, is what "
    "a generator that waits for the server would report. < 10: too few samples beyond it to tell."
)


def _safe(text: str | None) -> str:
    return escape(text or "")


def _notices(result: Result) -> list[str]:
    said = [
        notice(problem, "" if check.code else "warn")
        for check in checks(result)
        for problem in check.problems
    ]
    books = result.accounting
    known = not any(map(result.cannot_tell, ("bad", "duplicates")))
    if known and not (exit_code(result) or books.bad or books.duplicates):
        said.append(notice("Every task is accounted for; nothing lost, nothing run twice.", "good"))
    return said


def _facts(result: Result) -> list[tuple[str, str]]:
    totals, series = result.totals, result.overall
    pairs = [("sent", f"{result.accounting.sent:,}")]
    if totals.offered_per_s:
        pairs.append(("offered", show_rate(totals.offered_per_s)))
    if totals.done_per_s:
        pairs.append(("done", show_rate(totals.done_per_s)))
    if totals.makespan_s is not None and not totals.offered_per_s:
        pairs.append(("makespan", show_s(totals.makespan_s)))
    if totals.ideal_s:
        pairs.append((f"ideal on {totals.concurrency} slots", show_s(totals.ideal_s)))
        pairs.append(("one after another", show_s(totals.serial_s)))
    e2e = series.e2e
    tail = "p99" if e2e.p99 is not None else "max" if e2e.p50 is None else "p50"
    for name in ("wait", "e2e"):
        value = series.get(name).get(tail)
        if value is not None:
            pairs.append((f"{name} {tail}", show_s(value)))
    if totals.concurrency:
        name = f"slots, {totals.workers} worker{'s' * (totals.workers != 1)}"
        pairs.append((name, f"{totals.concurrency}"))
    return pairs


def _charts(result: Result) -> list[str]:
    rows = thinned(result.timeline)
    charts = []
    if len(rows) >= 2:
        charts += [
            section("Offered, sent and done", _rates(rows)),
            section("Backlog", _backlog(rows)),
            section("End to end over time", _bands(rows)),
            section("Slots in use", _slots(rows)),
        ]
    charts += [
        section("Percentiles", _curves(result.overall)),
        section("Wait and service per type", _types(result.series), note=_types_note(result)),
    ]
    return charts


def thinned(rows: list[TimelineRow], most: int = POINTS) -> list[TimelineRow]:
    """At most `most` rows for a chart: mean rates, and the largest of lags and depths."""
    step = -(-len(rows) // most)
    return rows if step <= 1 else [_joined(rows[n : n + step]) for n in range(0, len(rows), step)]


def _joined(rows: list[TimelineRow]) -> TimelineRow:
    """One row of several: of a depth that was not known once nothing is known."""
    joined = asdict(rows[0])
    for name in joined.keys() - {"second"}:
        values = [getattr(row, name) for row in rows]
        known = [value for value in values if value is not None]
        if name in ("offered", "sent", "done", "failed", "busy_slots"):
            joined[name] = sum(known) / len(rows)
        elif name in ("waiting", "in_flight", "concurrency") and len(known) < len(values):
            joined[name] = None
        else:
            joined[name] = max(known, default=None)
    return TimelineRow(**joined)


_TYPES_NOTE = "Bars are means; the mark is the end-to-end p99, or the longest of fewer than 1,000."


def _types_note(result: Result) -> str:
    more = len(result.series) - 1 - TYPES
    return f"{_TYPES_NOTE} {more} more types are in the table." if more > 0 else _TYPES_NOTE


def _clock(value: float) -> str:
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.3g} min"


def _plain(value: float) -> str:
    return f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def _over_time(name: str, rows: list[TimelineRow], lines: list[Line], **more: Any) -> str:
    more = {"y_format": _plain, **more}
    return line_chart(name, [float(row.second) for row in rows], lines, x_format=_clock, **more)


def _rates(rows: list[TimelineRow]) -> str:
    lines = [
        Line("offered /s", "s6", [row.offered for row in rows]),
        Line("sent /s", "s1", [row.sent for row in rows]),
        Line("done /s", "s3", [row.done for row in rows]),
    ]
    if any(row.failed for row in rows):
        lines.append(Line("failed /s", "s2", [row.failed for row in rows]))
    return _over_time("tasks a second, offered, sent and done, over time", rows, lines)


def _backlog(rows: list[TimelineRow]) -> str:
    lines = [
        Line("waiting", "s2", [row.waiting for row in rows], fill=True),
        Line("in flight", "s1", [row.in_flight for row in rows]),
    ]
    return _over_time("tasks waiting and in flight over time", rows, lines)


def _bands(rows: list[TimelineRow]) -> str:
    lines = [
        Line("max", "s6", [row.e2e_max for row in rows]),
        Line("p99", "s2", [row.e2e_p99 for row in rows], fill=True),
        Line("p90", "s5", [row.e2e_p90 for row in rows]),
        Line("p50", "s1", [row.e2e_p50 for row in rows]),
    ]
    name = "end-to-end latency of the tasks done in each second"
    return _over_time(name, rows, lines, y_format=show_s, y_axis=axis_s, log_y=True)


def _slots(rows: list[TimelineRow]) -> str:
    lines = [
        Line("busy", "s4", [row.busy_slots for row in rows], fill=True),
        Line("slots", "s6", [row.concurrency for row in rows]),
    ]
    return _over_time("slots busy over time, of all slots", rows, lines)


_NINES = tuple(-math.log10(1 - share) for share in (0.0, *PERCENTILES.values()))


def _curves(series: TypeSeries) -> str:
    """Percentile curves; x is the number of nines, so that the tail has room."""
    most = max(figures.count for _, figures in series.items())
    if not supported(most, 0.5):
        return '<p class="none">Too few samples: fewer than 10 beyond the median.</p>'
    reach = math.log10(most / MIN_BEYOND)
    steps = sorted({*(reach * n / 60 for n in range(61)), *(n for n in _NINES if n <= reach)})
    lines = []
    for name, style in (("e2e", "s1"), ("wait", "s2"), ("service", "s3"), ("e2e_raw", "s6")):
        figures = series.get(name)
        if figures.hdr is not None and figures.max is not None:
            shares = [share for n in steps if supported(figures.count, share := 1 - 10**-n)]
            values = [min(value, figures.max) for value in curve(figures.hdr, shares)]
            lines.append(Line(name, style, [*values, *[None] * (len(steps) - len(values))]))
    ticks = [(n, f"p{100 * (1 - 10**-n):.4g}") for n in _NINES if n <= reach]
    return line_chart(
        "latency by percentile",
        steps,
        lines,
        x_format=lambda nines: f"p{100 * (1 - 10**-nines):.4g}",
        y_format=show_s,
        y_axis=axis_s,
        log_y=True,
        x_ticks=ticks,
    )


def _types(series: dict[str, TypeSeries]) -> str:
    bars = []
    for name, block in list(series.items())[: TYPES + 1]:
        wait_s, service_s = block.wait.mean, block.service.mean
        if name == "all" or wait_s is None or service_s is None:
            continue
        text = f"wait {show_s(wait_s)}, service {show_s(service_s)}"
        parts = [("s2", max(wait_s, 0.0)), ("s3", service_s)]
        mark = block.e2e.max if block.e2e.p99 is None else block.e2e.p99
        bars.append(Bar(name, parts, mark, text))
    keys = [Line("wait", "s2", []), Line("service", "s3", [])]
    return bar_chart("mean wait and service per type", bars, x_format=axis_s) + legend(keys)


def _failed(result: Result) -> list[str]:
    if not result.failed_series:
        return []
    note = "In none of the other figures and charts: how fast a task failed says nothing good."
    return [section("Tasks that failed", _latency(result.failed_series), wide=True, note=note)]


def _latency(series: dict[str, TypeSeries]) -> str:
    rows = []
    for kind, block in series.items():
        if kind == "all" and len(series) == 2:
            continue  # one type: the same figures again
        for name, figures in block.items():
            cells = [figures.text(column) for column in _COLUMNS]
            rows.append([kind, name, f"{figures.count:,}", *cells])
    return table(["type", "series", "count", *_COLUMNS], rows, texts=2)


def _accounting(result: Result) -> str:
    books = result.accounting
    rows = [["sent", f"{books.sent:,}"]]
    for name, value in books.parts.items():
        mark = "+no " if name in ("lost", "unknown") and value else ""
        shown = "not known" if not value and result.cannot_tell(name) else f"{mark}{value:,}"
        rows.append([f"= {name.replace('_', ' ')}", shown])
    for name, value in asdict(books).items():
        if name not in PARTS and name != "sent" and value:
            rows.append([name.replace("_", " "), f"{value:,}"])
    return table(["this run's tasks", "count"], rows)


def _judged(result: Result) -> list[str]:
    if not result.expectations:
        return []
    rows = [
        [one.text, one.shown, "+ok met" if one.ok else "+no failed"] for one in result.expectations
    ]
    return [section("Expectations", table(["expected", "was", ""], rows))]


def _forecast(result: Result) -> list[str]:
    forecast = predicted(result)
    if forecast is None:
        if result.workload.profile is None:
            return []
        return [section("Predicted beside measured", "", note=NO_PREDICTION)]
    rows = [[row.figure, _known(row.predicted_s), _known(row.measured_s)] for row in forecast.rows]
    note = (
        f"Predicted before the first task was sent, from {forecast.made_from}: "
        f"{show_rate(forecast.rate_per_s)} as scheduled, {forecast.slots} slots "
        f"{forecast.utilization * 100:.0f} % busy, service {show_s(forecast.service_s)} "
        f"(cv² {forecast.service_cv2:.2f}), turnaround {show_s(forecast.turnaround_s)}, "
        f"pick-up {show_s(forecast.pickup_s)}; M/G/c. The closer the two columns, the more a "
        "plan may be trusted."
    )
    return [
        section("Predicted beside measured", table(["", "predicted", "measured"], rows), note=note)
    ]


def _searched(search: Searched | None) -> list[str]:
    if search is None:
        return []
    rows = [
        [
            show_rate(one.rate_per_s),
            "hold" if one.hold else "trial",
            f"+no {one.why}" if one.why else "+ok holds",
        ]
        for one in search.trials
    ]
    return [
        section("Latency over rate", _over_rate(search), note=search.why),
        section("What the search tried", table(["rate", "", ""], rows)),
    ]


def _over_rate(search: Searched) -> str:
    """Each rate once, by its worst; the marks on the axis are the answer and the knee."""
    slo = parse_expectation(search.slo)
    worst: dict[float, float] = {}
    for one in search.trials:
        if one.value is not None:
            worst[one.rate_per_s] = max(one.value, worst.get(one.rate_per_s, 0.0))
    xs = sorted(worst)
    marks = {search.flat_out_per_s: "knee", search.answer_per_s or 0.0: "answer"}
    shown = show_s if slo.is_duration else _plain
    return line_chart(
        f"{slo.name} {slo.statistic} by rate",
        [*xs, search.flat_out_per_s],
        [
            Line(f"{slo.name} {slo.statistic}", "s1", [*(worst[x] for x in xs), None]),
            Line("SLO", "s6", [slo.bound] * (len(xs) + 1)),
        ],
        x_format=show_rate,
        y_format=shown,
        y_axis=axis_s if slo.is_duration else _plain,
        log_y=True,
        x_ticks=[(rate, f"{name} {show_rate(rate)}") for rate, name in marks.items() if rate],
    )


def _outside(result: Result) -> list[str]:
    seen = result.outside
    if seen is UNSET:
        return []
    pairs = [
        ("empty after", "" if seen.emptied_s is None else show_s(seen.emptied_s)),
        ("mean wait", "" if seen.mean_wait_s is None else show_s(seen.mean_wait_s)),
    ]
    for kind, figures in seen.types.items():
        told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        pairs.append((kind, told))
    if seen.note is not None:
        pairs.append(("nothing per type", seen.note))
    return [section("Watched from outside", definitions(pairs))]


def _known(value: float | None) -> str:
    return "grows without end" if value is None else show_s(value)


def _environment(result: Result) -> str:
    env, clock = result.environment, result.clock
    drift = "not known" if clock.drift_s is None else show_s(clock.drift_s)
    error, cores = show_s(clock.offset_error_s), "?" if env.cores is None else env.cores
    pairs = [
        ("command", shlex.join(result.command)),
        ("cpu", f"{env.cpu}, {cores} cores"),
        ("load before", " ".join(map(str, env.load_average))),
        ("system", env.os),
        ("python", env.python),
        ("libraries", ", ".join(f"{k} {v}" for k, v in env.libraries.items())),
        ("server", ", ".join(f"{k} {v}" for k, v in env.server.items())),
        ("redis", env.redis_url),
        ("config", env.config_hash),
        ("git commit", env.git_commit),
        ("seed", str(result.workload.seed)),
        ("run", result.run_id),
        ("clock", f"known to {error}, drift {drift}, {clock.anomalies} anomalies"),
    ]
    return definitions(pairs)
