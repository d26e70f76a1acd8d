"""A result as a short Markdown summary, for a CI's job page or a pull request. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from taskrig_loadgen.quantity import show_rate, show_s
from taskrig_loadgen.result.model import Result, TypeSeries
from taskrig_loadgen.result.verdict import checks

_COLUMNS = ("p50", "p90", "p99", "max")


def summary(result: Result) -> str:
    """Headline, figures per type, accounting, verdict, expectations."""
    totals, books = result.totals, result.accounting
    lines = [f"### loadgen {result.kind}: {_mix(result)}", ""]
    facts = []
    if totals.makespan_s is not None:
        facts.append(f"makespan **{show_s(totals.makespan_s)}**")
    if totals.ideal_s:
        facts.append(f"ideal for {totals.concurrency} slots {show_s(totals.ideal_s)}")
    if totals.offered_per_s:
        facts.append(f"offered {show_rate(totals.offered_per_s)}")
    if totals.done_per_s:
        facts.append(f"done **{show_rate(totals.done_per_s)}**")
    lines += [", ".join(facts), "", _head()]
    lines += _rows(result.series, "")
    lines += _rows(result.failed_series or {}, " (failed)")
    told = " + ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in books.parts.items() if n)
    lines += ["", f"{books.sent:,} sent = {told or 0}; {books.duplicates:,} run twice."]
    for check in checks(result):
        mark = "**FAIL**" if check.code else "note"
        lines += [f"- {mark}: {_cell(problem)}" for problem in check.problems]
    for one in result.expectations:
        mark = "pass" if one.ok else "**FAIL**"
        lines.append(f"- {mark}: `{one.text.replace('`', '')}` (was {one.shown})")
    return "\n".join(lines) + "\n"


def _rows(series: dict[str, TypeSeries], mark: str) -> Iterator[str]:
    for kind, block in series.items():
        for name in ("wait", "service", "e2e"):
            figures = block.get(name)
            cells = " | ".join(_cell(figures.text(column)) for column in _COLUMNS)
            yield f"| {_cell(kind)}{mark} | {name} | {figures.count:,} | {cells} |"


def _head() -> str:
    names = ("type", "series", "count", *_COLUMNS)
    return f"| {' | '.join(names)} |\n|{'---|' * 2}{'--:|' * (len(names) - 2)}"


def _mix(result: Result) -> str:
    return _cell(", ".join(f"{name}={count}" for name, count in result.workload.mix.items()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
