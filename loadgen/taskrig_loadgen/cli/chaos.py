"""Load workers, break things under them, and prove that nothing was lost."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from msgspec.structs import asdict

from taskrig.errors import UsageError
from taskrig.frame.output import remark
from taskrig_loadgen.chaos.program import Chaos, ChaosReport
from taskrig_loadgen.cli import options, output
from taskrig_loadgen.cli.console import report_console
from taskrig_loadgen.cli.live import conduct, on_interrupt, run_loop
from taskrig_loadgen.load.mix import parse_mix
from taskrig_loadgen.load.pacer import constant
from taskrig_loadgen.load.workload import Workload
from taskrig_loadgen.quantity import duration_s, rate_per_s
from taskrig_loadgen.report.chaos import log_lines, render
from taskrig_loadgen.result.model import Result
from taskrig_loadgen.result.store import check_target, write_file
from taskrig_loadgen.run.experiment import Experiment, InterruptedEarly

EXAMPLE = """loadgen chaos
  loadgen chaos --duration 3m --rate 700"""
MIX = "quick=61,short=10,plain=10,process=8,batch=8,long=2,forks=1"
LEAST_S = 10.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `loadgen chaos`."""
    parser.description = (
        "Starts a Redis server and workers of its own, offers load, kills, freezes, cuts and "
        "restarts under it, and accounts for every task. Exit 0 only if nothing was lost."
    )
    parser.add_argument(
        "--duration", default="20s", metavar="TIME", help="length of the load (default 20s)"
    )
    parser.add_argument(
        "--rate", default="500", metavar="RATE", help="tasks sent a second (default 500)"
    )
    parser.add_argument(
        "--workers", type=int, default=3, metavar="N", help="number of workers (default 3)"
    )
    parser.add_argument(
        "--slots", type=int, default=20, metavar="N", help="slots of each worker (default 20)"
    )
    parser.add_argument(
        "--lease", default="2s", metavar="TIME", help="worker.lease of the workers (default 2s)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="start value of the random numbers that choose victims and times (default 0)",
    )
    parser.add_argument(
        "--json",
        type=output.file_name,
        metavar="FILE",
        help="write all figures to this file as JSON",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="copy the logs of the server and the workers to this folder",
    )


def run(args: argparse.Namespace) -> int:
    """`loadgen chaos`"""
    config = options.read_config(args)
    length_s = duration_s(args.duration, "--duration")
    lease_s = duration_s(args.lease, "--lease")
    if length_s < LEAST_S:
        raise UsageError(f"--duration: must be at least {LEAST_S:g}s to break anything")
    for name in ("workers", "slots"):
        if getattr(args, name) < 1:
            raise UsageError(f"--{name}: must be at least 1, got {getattr(args, name)}")
    if not 0.5 <= lease_s <= 60:
        raise UsageError(f"--lease: must be from 0.5s to 60s, got {args.lease}")
    if args.json:
        check_target(args.json)
    if args.keep and args.keep.exists() and not args.keep.is_dir():
        raise UsageError(f"--keep: {args.keep} is not a folder")
    workload = Workload(
        mix=parse_mix(MIX),
        profile=constant(rate_per_s(args.rate, "--rate"), length_s),
        seed=args.seed,
        drain_timeout_s=max(20.0, 5 * lease_s),
    )
    folder, holds = Path(tempfile.mkdtemp(prefix="taskrig-chaos-")), False
    try:
        chaos = Chaos(
            config,
            workload,
            workers=args.workers,
            concurrent=args.slots,
            lease_s=lease_s,
            folder=folder,
        )
        report = run_loop(_run(chaos, workload))
        holds = report.holds
        _show(report, args)
        return report.exit_code
    except InterruptedEarly:
        holds = True
        raise
    finally:
        _leave_logs(folder, args.keep, wanted=not holds)


def _leave_logs(folder: Path, keep: Path | None, *, wanted: bool) -> None:
    """Copy the logs where they are to be kept; drop them only where they are there or not wanted.

    Args:
        wanted: the promise was not kept, or there is no report: they may say why.
    """
    if keep is not None:
        try:
            shutil.copytree(folder, keep, dirs_exist_ok=True)
        except OSError as error:  # as on a full disk
            remark(f"cannot copy the logs to {keep}: {error}; they are in {folder}")
            return
    elif wanted and any(folder.glob("worker-*.log")):
        remark(f"logs of the server and the workers: {folder}")
        return
    shutil.rmtree(folder, ignore_errors=True)


async def _run(chaos: Chaos, workload: Workload) -> ChaosReport:
    async def shown(experiment: Experiment) -> Result:
        return await conduct(experiment, workload, chaos.config.queue.key)

    with on_interrupt(chaos.interrupt):
        return await chaos.run(shown, remark)


def _show(report: ChaosReport, args: argparse.Namespace) -> None:
    console = report_console()
    for line in log_lines(report):
        console.print(line, markup=False)
    for part in render(report):
        console.print(part)
    if args.json:
        write_file(args.json, json.dumps(_document(report), indent=1) + "\n")


def _document(report: ChaosReport) -> dict[str, object]:
    return {
        "holds": report.holds,
        "interrupted": report.interrupted,
        "accepted": report.accepted,
        "found": report.found,
        "totals": report.totals,
        "accounting": asdict(report.result.accounting),
        "unexpected": report.unexpected,
        "faults": [
            {
                "name": one.name,
                "at_s": round(one.at_s, 3),
                "target": one.target,
                "lasted_s": round(one.lasted_s, 3),
                "recovery_s": one.recovery_s,
                "gave_up": one.gave_up,
            }
            for one in report.injected
        ],
    }
