"""`worker status` and `worker top`: how the queue and its workers stand."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

from taskrig.cli.desk import add_json_flag, age, dropped_lines, operator_of, print_json
from taskrig.errors import BrokerUnavailable
from taskrig.frame.parser import Commands, command, seconds
from taskrig.texts import plain, printable

if TYPE_CHECKING:
    from taskrig.admin import Inspector
    from taskrig.broker import PausedType, Rates, Survey

EXAMPLES = """\
examples:
  worker status                           depths, rates, workers, what runs and for how long
  worker status --json
  worker status --over 10                 rates over ten seconds; 0: no rates, answer at once
exit codes: 0 it was told, 2 wrong configuration, 3 Redis out of reach"""

TOP_EXAMPLES = """\
examples:
  worker top                              live, until Ctrl-C
  worker top --every 5 --json             one JSON document a line
  worker top --count 3                    three looks, then end"""

TASKS_SHOWN = 20


def add(commands: Commands) -> None:
    """Add the commands."""
    parser = command(
        commands,
        "status",
        execute,
        about="show the queue, its workers, running tasks, totals and rates",
        examples=EXAMPLES,
    )
    add_json_flag(parser)
    parser.add_argument(
        "--over",
        type=seconds(0, 3600),
        default=1.0,
        metavar="TIME",
        help="time over which rates are measured; 0 shows no rates (default 1s)",
    )
    top = command(
        commands, "top", execute_top, about="show the status repeatedly", examples=TOP_EXAMPLES
    )
    add_json_flag(top)
    top.add_argument(
        "--every",
        type=seconds(0.1, 3600),
        default=1.0,
        metavar="TIME",
        help="time between two looks (default 1s)",
    )
    top.add_argument(
        "--count",
        type=int,
        default=0,
        metavar="N",
        help="number of looks, after which it ends (default 0: no limit)",
    )


def execute(args: argparse.Namespace) -> int:
    """Print the status; returns 0."""
    with operator_of(args) as operator:
        before = survey = operator.survey()
        if args.over:
            time.sleep(args.over)
            survey = operator.survey()
        rates = survey.rates(before)
        if args.json:
            print_json({"redis": operator.where, **survey.as_dict(rates)})
        else:
            print("\n".join(lines_of(operator.where, survey, rates)))
    return 0


def execute_top(args: argparse.Namespace) -> int:
    """Print the status again and again; returns 0, or 130 after Ctrl-C."""
    with operator_of(args) as operator:
        survey = operator.survey()  # Redis away at the start is an error; later it is shown
        live = sys.stdout.isatty() and not args.json
        count = 0
        while True:
            time.sleep(args.every)
            count += 1
            survey = _one_look(operator, survey, args.json, live)
            if count == args.count:
                return 0


def _one_look(operator: Inspector, before: Survey, as_json: bool, live: bool) -> Survey:
    try:
        survey = operator.survey()
    except BrokerUnavailable as error:
        lines = [json.dumps({"error": str(error)}) if as_json else printable(str(error))]
        survey = before
    else:
        rates = survey.rates(before)
        if as_json:
            lines = [json.dumps({"redis": operator.where, **survey.as_dict(rates)})]
        else:
            lines = lines_of(operator.where, survey, rates)
    if live:
        sys.stdout.write(_picture(lines, shutil.get_terminal_size()))
    else:
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
    return survey


def _picture(lines: list[str], size: os.terminal_size) -> str:
    """From the corner, each line cleared to its end: no flicker. Cut, so that nothing scrolls."""
    shown = [line[: size.columns] for line in lines[: size.lines - 1]]
    if len(shown) < len(lines):
        shown[-1] = f"  ... {len(lines) - len(shown) + 1} lines more"[: size.columns]
    return "\x1b[H" + "".join(f"{line}\x1b[K\n" for line in shown) + "\x1b[J"


def lines_of(where: str, survey: Survey, rates: Rates | None) -> list[str]:
    """The status for people."""
    lines = [f"queue      {plain(survey.queue)} at {where}"]
    if survey.paused:
        since = age(survey.at - survey.paused_since) if survey.paused_since else "?"
        why = f": {plain(survey.paused_why)}" if survey.paused_why else ""
        lines.append(f"PAUSED     for {since}{why} (worker resume ends it)")
    lines += [_paused_type(survey, one) for one in survey.paused_types]
    oldest = survey.oldest_waiting_s
    told = f", the next one for {age(oldest)}" if oldest is not None else ""
    lines += [
        f"waiting    {survey.waiting:,}{told}",
        *_lists(survey),
        f"in flight  {survey.in_flight:,}{_slots(survey)}",
        f"delayed    {survey.delayed:,}",
        f"dead       {survey.dead:,} dead letters",
        *(f"DROPPED    {line}" for line in dropped_lines(survey)),
        f"totals     {_totals(survey)}",
    ]
    if rates is not None:
        done, arriving = f"{rates.done_per_s:,.1f}/s", f"{rates.arriving_per_s:,.1f}/s"
        lines.append(f"rates      {done} done, {arriving} arriving; {_to_empty(survey, rates)}")
    return [*lines, *_workers(survey), *_running(survey)]


def _slots(survey: Survey) -> str:
    described = len(survey.workers)
    if survey.workers_alive <= described:
        return f" of {survey.slots:,} slots"
    return f"; {described:,} of the {survey.workers_alive:,} workers have {survey.slots:,} slots"


def _lists(survey: Survey) -> list[str]:
    if not survey.lists:
        return []
    counts = sorted(survey.lists.items())
    return [f"lists      {', '.join(f'{plain(name, 60)} {count:,}' for name, count in counts)}"]


def _paused_type(survey: Survey, one: PausedType) -> str:
    aside = f"{one.aside:,} set aside"
    if not one.paused:
        return f"resumed    {plain(one.type, 40)}: {aside}, on their way back"
    since = age(survey.at - one.since) if one.since else "?"
    why = f": {plain(one.why)}" if one.why else ""
    return f"PAUSED     {plain(one.type, 40)} for {since}, {aside}{why}"


def _totals(survey: Survey) -> str:
    names = ("succeeded", "failed", "invalid", "dead", "released", "reclaimed", "requeued")
    shown = [f"{survey.totals[name]:,} {name}" for name in names if survey.totals.get(name)]
    return ", ".join(shown) or "nothing yet"


def _to_empty(survey: Survey, rates: Rates) -> str:
    if survey.waiting == 0:
        return "nothing waits"
    if rates.time_to_empty_s is None:
        return "the backlog does not shrink"
    return f"empty in {age(rates.time_to_empty_s)}"


def _workers(survey: Survey) -> list[str]:
    if not survey.workers:
        lines = ["workers    none alive: tasks wait until one starts"]
    else:
        lines = [f"workers    {survey.workers_alive}"]
    for one in survey.workers:
        state = "  draining" if one.draining else ""
        lines.append(
            f"  {plain(one.id, 40):<12} {plain(one.host, 30)}:{one.pid}  up {age(one.age_s)}  "
            f"{one.running:,} of {one.concurrency:,} running  {plain(one.version, 20)}{state}"
        )
    if survey.workers_alive > len(survey.workers):
        lines.append(f"  ... and {survey.workers_alive - len(survey.workers):,} more")
    if survey.workers_silent:
        lines.append(f"  {survey.workers_silent} silent: what they held is about to be reclaimed")
    return lines


def _running(survey: Survey) -> list[str]:
    if not survey.running:
        return []
    lines = ["running    longest first"]
    for task in survey.running[:TASKS_SHOWN]:
        where = f"  a batch of {task.batch:,}" if task.batch else ""
        where += f"  process {task.pid}, {task.memory >> 20} MiB" if task.pid else ""
        lines.append(
            f"  {plain(task.tag, 40):<18} {plain(task.type, 40):<20} {age(task.for_s)}{where}"
        )
    more = survey.running_total - min(len(survey.running), TASKS_SHOWN)
    if more > 0:
        lines.append(f"  ... and {more:,} more")
    return lines
