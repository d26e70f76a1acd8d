"""The report of a chaos run for a terminal: what was injected, how it recovered, what was lost."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from taskrig_loadgen.chaos.faults import KILL, OTHERS
from taskrig_loadgen.chaos.program import ChaosReport
from taskrig_loadgen.quantity import show_s


def render(report: ChaosReport) -> Iterator[RenderableType]:
    """The faults by kind, every fault, the accounting, the verdict."""
    yield Text()
    yield _by_kind(report)
    yield _accounting(report)
    yield from _verdict(report)


def log_lines(report: ChaosReport) -> Iterator[str]:
    """Every fault: when, what, how long, how long until it was recovered from."""
    for one in report.injected:
        recovery = "gave up waiting" if one.gave_up else show_s(one.recovery_s)
        lasted = f", for {show_s(one.lasted_s)}" if one.lasted_s else ""
        target = f" ({one.target})" if one.target else ""
        yield f"{one.at_s:7.1f} s  {one.name}{target}{lasted}: recovered in {recovery}"


def _by_kind(report: ChaosReport) -> Table:
    table = Table(title="faults", title_justify="left", box=None, pad_edge=False)
    table.add_column("fault")
    table.add_column("times", justify="right")
    table.add_column("recovered, median", justify="right")
    table.add_column("worst", justify="right")
    table.add_column("what it is")
    for fault in (KILL, *OTHERS):
        count = sum(one.name == fault.name for one in report.injected)
        if count:
            _, median, worst = report.recovery(fault.name) or (0, None, None)
            table.add_row(fault.name, str(count), show_s(median), show_s(worst), fault.says)
    return table


def _accounting(report: ChaosReport) -> Text:
    books, totals = report.result.accounting, report.totals
    outages = sum(f.is_outage for f in OTHERS for one in report.injected if one.name == f.name)
    kills = sum(one.name == KILL.name for one in report.injected)
    in_time, killed = report.kills_in_time()
    return Text(
        f"\n{report.accepted:,} accepted, {books.succeeded:,} succeeded, "
        f"{books.failed:,} failed, {books.dead:,} dead, {report.left:,} left over, "
        f"{report.lost:,} lost\n"
        f"{books.duplicates:,} run twice, {totals.get('reclaimed', 0):,} reclaimed, "
        f"{totals.get('released', 0):,} released at a drain; "
        f"{books.refused:,} pushes refused by Redis, {books.unconfirmed:,} unconfirmed, "
        f"of which {books.never_arrived:,} never arrived\n"
        f"{kills} worker kills, {outages} outages of Redis, "
        f"{report.workers_started} workers started\n"
        f"{in_time} of {killed} killed workers' tasks came back within two leases\n"
        f"conservation: {report.accepted:,} accepted, {report.found:,} found "
        f"by the server's own totals"
    )


def _verdict(report: ChaosReport) -> Iterator[Text]:
    for line in report.unexpected:
        yield Text(f"unexpected: {line}", style="red")
    for one in report.injected:
        if one.gave_up:
            yield Text(f"not recovered: {one.name} at {one.at_s:.1f} s {one.target}", style="red")
    if report.interrupted and report.holds:
        yield Text(
            f"\ninterrupted: lost 0 until then, {report.left:,} not ended", style="bold yellow"
        )
    elif report.holds:
        yield Text("\nlost 0: the promise holds", style="bold green")
    else:
        yield Text("\nthe promise does NOT hold", style="bold red")
