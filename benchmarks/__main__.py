"""`python -m benchmarks run|profile`: measure, look closer."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import profiling
from benchmarks.bench import open_bench
from benchmarks.measuring import load_rows, run
from benchmarks.scenarios import rows
from loadgen.peers.server import own_server
from worker.errors import TaskrigError

RESULTS = Path("results")


def main() -> int:
    """Read the command line and do it; returns the exit code."""
    args = _parser().parse_args()
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


def _profile(args: argparse.Namespace) -> int:
    with own_server() as url, open_bench(url) as bench:
        print(profiling.profile(bench, args.tasks, args.slots))
    return 0


if __name__ == "__main__":
    sys.exit(main())
