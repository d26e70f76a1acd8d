"""`worker dead list|show|requeue|drop`: what will not run again by itself."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from taskrig.cli.desk import (
    ProgressLine,
    add_json_flag,
    answer,
    dropped_lines,
    operator_of,
    print_json,
    shown_bytes,
)
from taskrig.errors import TaskrigError, UsageError
from taskrig.frame.output import ask, remark
from taskrig.frame.parser import Commands, Parser, command, refuse_unless_known
from taskrig.texts import did_you_mean, plain

if TYPE_CHECKING:
    from taskrig.admin import DeadLetters, Inspector
    from taskrig.broker import DeadLetter

EXAMPLES = """\
examples:
  worker dead list --type email --reason timeout
  worker dead show 1760000000000-0
  worker dead requeue --type email --dry-run
  worker dead drop --outcome invalid --yes"""

LIST_EXAMPLES = """\
examples:
  worker dead list                        the newest 20
  worker dead list --outcome failed -n 100 --json"""

SHOW_EXAMPLES = """\
examples:
  worker dead show 1760000000000-0        its reason, its error, its traceback, and the item
  worker dead show 1760000000000-0 --raw  the item alone, byte for byte
exit codes: 0 it was shown, 1 there is no dead letter with this id, 2 wrong usage"""

REQUEUE_EXAMPLES = """\
examples:
  worker dead requeue 1760000000000-0     back to the queue, byte for byte
  worker dead requeue --type email --reason timeout
  worker dead requeue --all --dry-run     only say how many it would be
They go to the back of the queue, behind the waiting tasks. The earlier outcome stays in the totals,
and the new run is counted separately.
exit codes: 0 done, also where nothing matches; 1 an id was not there; 2 wrong usage"""

DROP_EXAMPLES = """\
examples:
  worker dead drop 1760000000000-0
  worker dead drop --outcome invalid --dry-run
  worker dead drop --all --yes            permanently, without asking
exit codes: 0 done, also where nothing matches; 1 an id was not there; 2 wrong usage"""

FILTERS = {
    "type": "only dead letters of this task type",
    "reason": "only dead letters with this reason, such as error, timeout, poison or not_json",
    "outcome": "only dead letters with this outcome: failed, invalid or dead",
    "worker": "only dead letters of the worker with this id",
}


def add(commands: Commands) -> None:
    """Add the commands."""
    parser: Parser = commands.add_parser(
        "dead",
        help="list, show, requeue or drop dead letters",
        description="List, show, requeue or drop dead letters.",
        epilog=EXAMPLES,
    )
    inner = parser.add_subparsers(title="commands", metavar="list|show|requeue|drop", required=True)
    listing = command(
        inner, "list", execute_list, about="list dead letters, newest first", examples=LIST_EXAMPLES
    )
    _add_filters(listing)
    listing.add_argument(
        "-n",
        "--number",
        type=int,
        default=20,
        metavar="N",
        help="number of letters to show (default 20)",
    )
    listing.add_argument(
        "--oldest", action="store_true", help="show the oldest first, instead of the newest"
    )
    add_json_flag(listing)
    show = command(
        inner,
        "show",
        execute_show,
        about="show one dead letter with its traceback and its item",
        examples=SHOW_EXAMPLES,
    )
    show.add_argument("id", metavar="ID", help="id of the dead letter (see worker dead list)")
    show.add_argument(
        "--raw", action="store_true", help="write the bytes of the item and nothing else"
    )
    add_json_flag(show)
    for act, text, examples in (
        ("requeue", "put dead letters back to the queue, byte for byte", REQUEUE_EXAMPLES),
        ("drop", "delete dead letters permanently", DROP_EXAMPLES),
    ):
        one = command(inner, act, execute_move, about=text, examples=examples)
        one.set_defaults(act=act)
        one.add_argument("ids", metavar="ID", nargs="*", help="ids of dead letters")
        _add_filters(one)
        one.add_argument("--all", action="store_true", help="take all dead letters")
        one.add_argument(
            "--dry-run", action="store_true", help="change nothing, say how many there are"
        )
        one.add_argument("--yes", action="store_true", help="act without asking")
        add_json_flag(one)


def _add_filters(parser: Parser) -> None:
    for name, text in FILTERS.items():
        parser.add_argument(f"--{name}", metavar=name.upper(), help=text)


def _where(args: argparse.Namespace) -> dict[str, str]:
    """The filters; raises UsageError for an outcome or a reason that no dead letter can have."""
    from taskrig.task import DEAD_REASONS, FAILED_REASONS, REASONS

    if args.outcome is not None:
        refuse_unless_known("--outcome", args.outcome, ("failed", "invalid", "dead"))
    if args.reason is not None:
        reasons = (*FAILED_REASONS, *DEAD_REASONS, *REASONS)
        refuse_unless_known("--reason", args.reason, reasons)
    return {name: getattr(args, name) for name in FILTERS if getattr(args, name) is not None}


def _say_nothing_matches(letters: DeadLetters, where: dict[str, str]) -> None:
    """Say on stderr which filter it is, and which values there are."""
    absent = [one for one in where.items() if not letters.page(dict([one]), 1, shown=0).letters]
    for name, value in absent:
        known = letters.values(name)
        if not known:
            return  # there are no dead letters at all
        shown = ", ".join(f"{plain(one, 40)} ({n:,})" for one, n in known.most_common(10))
        meant = did_you_mean(value, known) or "."
        remark(f"no dead letter has {name} {value!r}{meant} The newest 1,000 have: {shown}")
    if where and not absent:
        remark("no dead letter has all of these: " + ", ".join(f"--{name}" for name in where))


def execute_list(args: argparse.Namespace) -> int:
    """Print a page of dead letters; returns 0."""
    if not 1 <= args.number <= 100_000:
        raise UsageError("-n: must be 1 to 100000")
    where = _where(args)
    with operator_of(args) as operator:
        letters = _dead_letters(operator)
        page = letters.page(where, args.number, oldest_first=args.oldest)
        survey = operator.survey()
        if not page.letters:
            _say_nothing_matches(letters, where)
    total = survey.dead
    if args.json:
        letters_as = [letter.as_dict() for letter in page.letters]
        print_json({"total": total, "trimmed": asdict(survey.trimmed), "letters": letters_as})
        return 0
    for letter in page.letters:
        print(_line(letter))
    more = ", more match" if page.next and page.letters else ""
    print(f"{len(page.letters):,} shown of {total:,} dead letters{more}")
    print("".join(f"{line}\n" for line in dropped_lines(survey)), end="")
    return 0


def _dead_letters(operator: Inspector) -> DeadLetters:
    from taskrig.admin import DeadLetters

    return DeadLetters(operator)


def _line(letter: DeadLetter) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(letter.time))
    error = f": {plain(letter.error, 80)}" if letter.error else ""
    kind = plain(letter.type, 40) or shown_bytes(letter.start, letter.size, 40)
    outcome, reason = plain(letter.outcome, 7), plain(letter.reason, 30)
    return f"{letter.id}  {when}  {outcome:<7} {reason}  {kind}{error}"


def execute_show(args: argparse.Namespace) -> int:
    """Print one dead letter; returns 0."""
    wanted = _checked_id(args.id)
    with operator_of(args) as operator:
        letter = _dead_letters(operator).get(wanted)
    if letter is None:
        raise TaskrigError(f"there is no dead letter {args.id}; was it requeued or dropped?")
    if args.raw:
        sys.stdout.flush()
        sys.stdout.buffer.write(letter.start)
        sys.stdout.buffer.flush()
    elif args.json:
        print_json(letter.as_dict())
    else:
        when = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(letter.time))
        for name, value in (
            ("id", letter.id),
            ("time", when),
            ("outcome", letter.outcome),
            ("reason", letter.reason),
            ("error", letter.error),
            ("type", letter.type),
            ("deliveries", str(letter.deliveries)),
            ("worker", letter.worker),
            ("size", f"{letter.size:,} bytes"),
        ):
            print(f"{name:<11}{plain(value, 1000)}")
        for line in letter.traceback.split("\n") if letter.traceback else ():
            print(f"  | {plain(line, 1000)}")
        print(plain(letter.start.decode("utf-8", "backslashreplace"), 10_000))
    return 0


def _checked_id(text: str) -> str:
    from taskrig.admin.dead_letters import is_id

    if not is_id(text):
        raise UsageError(f"{text!r} is not an id of a dead letter; `worker dead list` shows them")
    return text


def execute_move(args: argparse.Namespace) -> int:
    """Requeue or drop; returns 0, or 1 when an id was not there."""
    ids, where = [_checked_id(one) for one in args.ids], _where(args)
    if bool(ids) + bool(where) + args.all != 1:
        raise UsageError("give ids, or --type, --reason, --outcome, --worker, or --all; one kind")
    with operator_of(args) as operator:
        if ids:
            return _move_ids(args, operator, ids)
        return _move_all(args, operator, where)


def _move_ids(args: argparse.Namespace, operator: Inspector, ids: list[str]) -> int:
    letters = _dead_letters(operator)
    done: list[str] = []
    absent: list[str] = []
    for one in ids:
        found = letters.get(one) is not None if args.dry_run else letters.move_one(args.act, one)
        (done if found else absent).append(one)
    word = _word(args)
    gone = f"; not there: {', '.join(absent)}" if absent else ""
    answer(
        args,
        f"{word} {len(done):,}{gone}",
        act=args.act,
        count=len(done),
        absent=absent,
        dry_run=args.dry_run,
    )
    return 1 if absent else 0


def _move_all(args: argparse.Namespace, operator: Inspector, where: dict[str, str]) -> int:
    letters, total = _dead_letters(operator), operator.survey().dead
    if args.act == "drop" and not args.dry_run:
        what = "all" if args.all else "the matching ones of"
        if not args.yes and not ask(f"delete {what} {total:,} dead letters permanently?"):
            raise UsageError("nothing was dropped; --yes drops without asking, --dry-run counts")
    line, count = ProgressLine(_word(args)), 0
    walk = letters.count(where) if args.dry_run else letters.move(args.act, where)
    for step in walk:
        count = step.matching
        line.show(count, step.looked_at, total)
    line.end()
    if not count:
        _say_nothing_matches(letters, where)
    answer(args, f"{_word(args)} {count:,}", act=args.act, count=count, dry_run=args.dry_run)
    return 0


def _word(args: argparse.Namespace) -> str:
    if args.dry_run:
        return f"would {args.act}"
    return "requeued" if args.act == "requeue" else "dropped"
