"""`python -m benchmarks run|peers|document|scaling|profile`: measure, write down, look closer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import document, profiling
from benchmarks.bench import open_bench
from benchmarks.measuring import load_rows, run
from benchmarks.peers import command as peers
from benchmarks.peers.server import own_server
from benchmarks.scaling import curve
from benchmarks.scenarios import rows
from taskrig.errors import TaskrigError
from taskrig_loadgen.maths.queueing import fit_scaling

RESULTS = Path("results")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and do it; returns the exit code."""
    args = _parser().parse_args(arguments)
    try:
        code: int = args.run(args)
        return code
    except TaskrigError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    bench = commands.add_parser("run", help="measure every row, or the groups named")
    bench.add_argument("groups", nargs="*", help="drain with backlog workers parts enqueue ...")
    bench.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: 5)")
    bench.add_argument("--out", type=Path, default=RESULTS / "bench.json")
    bench.set_defaults(run=_run)
    field = commands.add_parser(
        "peers", help=peers.__doc__, description=peers.__doc__, epilog=peers.EXAMPLE
    )
    peers.configure(field)
    field.set_defaults(run=peers.run)
    page = commands.add_parser("document", help="make docs/benchmarks.md from the results")
    page.add_argument("--check", action="store_true", help="only say whether it is up to date")
    page.set_defaults(run=_document)
    scale = commands.add_parser("scaling", help="simulate N workers against one Redis")
    scale.add_argument("--worker-us", type=float, default=8.0, help="worker's time a task")
    scale.add_argument("--server-us", type=float, default=4.0, help="Redis's time a task")
    scale.set_defaults(run=_scaling)
    look = commands.add_parser("profile", help="where a drain at 100 at once spends its time")
    look.add_argument("--tasks", type=int, default=200_000)
    look.add_argument("--slots", type=int, default=100)
    look.set_defaults(run=_profile)
    return parser


def _run(args: argparse.Namespace) -> int:
    chosen = load_rows(rows(), args.groups)
    with own_server() as url, open_bench(url) as bench:
        failed = run(bench, chosen, args.rounds, args.out, print)
    print(f"result: {args.out}")
    return 1 if failed else 0


def _document(args: argparse.Namespace) -> int:
    return document.write(RESULTS, check=args.check, say=print)


def _scaling(args: argparse.Namespace) -> int:
    points = curve((1, 2, 3, 4, 8, 16), worker_us=args.worker_us, server_us=args.server_us)
    law = fit_scaling(points)
    for workers, found in points:
        print(f"{workers:>4.0f} workers  {found:>10,.0f} tasks/s  law {law.rate(workers):>10,.0f}")
    print(
        f"Universal Scalability Law: one worker {law.single:,.0f}/s, contention "
        f"{law.contention:.3f}, chatter {law.chatter:.5f}; ceiling {1e6 / args.server_us:,.0f}/s"
    )
    return 0


def _profile(args: argparse.Namespace) -> int:
    with own_server() as url, open_bench(url) as bench:
        print(profiling.profile(bench, args.tasks, args.slots))
    return 0


if __name__ == "__main__":
    sys.exit(main())
