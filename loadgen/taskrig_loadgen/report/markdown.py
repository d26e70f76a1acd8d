"""A result as a short Markdown summary, for a CI's job page or a pull request. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from taskrig_loadgen.quantity import show_rate, show_s
from taskrig_loadgen.result.model import Result, TypeSeries
from taskrig_loadgen.result.verdict import checks

_COLUMNS = ("p50", "p90", "p99", "max")
_HEAD = ("type", "series", "count", *_COLUMNS)


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
    rows = [*_rows(result.series, ""), *_rows(result.failed_series or {}, " (failed)")]
    lines += [", ".join(facts), "", table(_HEAD, rows, texts=2).rstrip()]
    told = " + ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in books.parts.items() if n)
    unknown = result.cannot_tell("duplicates")
    twice = f"run twice: {unknown}" if unknown else f"{books.duplicates:,} run twice"
    lines += ["", f"{books.sent:,} sent = {told or 0}; {twice}."]
    for check in checks(result):
        mark = "**FAIL**" if check.code else "note"
        lines += [f"- {mark}: {cell(problem)}" for problem in check.problems]
    for one in result.expectations:
        mark = "pass" if one.ok else "**FAIL**"
        lines.append(f"- {mark}: `{one.text.replace('`', '')}` (was {one.shown})")
    if result.search is not None:
        lines.append(f"- {cell(result.search.why)}")
    return "\n".join(lines) + "\n"


def _rows(series: dict[str, TypeSeries], mark: str) -> Iterator[list[str]]:
    for kind, block in series.items():
        for name in ("wait", "service", "e2e"):
            figures = block.get(name)
            cells = (figures.text(column) for column in _COLUMNS)
            yield [kind + mark, name, f"{figures.count:,}", *cells]


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1) -> str:
    """A table whose first `texts` columns are text; cells are escaped here."""
    lines = [head, ["---"] * texts + ["--:"] * (len(head) - texts), *rows]
    return "".join(f"| {' | '.join(map(cell, line))} |\n" for line in lines)


def _mix(result: Result) -> str:
    return cell(", ".join(f"{name}={count}" for name, count in result.workload.mix.items()))


def cell(text: str) -> str:
    """Text that stays text, in one cell."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
