"""Send recorded tasks again, at their own pace or faster."""

from __future__ import annotations

import argparse
from pathlib import Path

from taskrig.errors import UsageError
from taskrig.frame.output import remark
from taskrig_loadgen.analysis.expectations import check_types
from taskrig_loadgen.cli import asking, options, output
from taskrig_loadgen.cli.live import conduct, run_loop
from taskrig_loadgen.load.recording import read_recording
from taskrig_loadgen.run.experiment import Experiment

EXAMPLE = """echo '{"type": "fast_task", "data": {}, "at": 0.5}' > tasks.jsonl
  loadgen replay tasks.jsonl --speed 2"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `loadgen replay`."""
    parser.add_argument(
        "recording",
        type=Path,
        metavar="FILE.jsonl",
        help='file with a task in each line: {"type": ..., "data": ..., "at": seconds}. at, or '
        "enqueued_at in Unix seconds, says when to send it. Without either all are sent at once",
    )
    parser.add_argument(
        "--speed",
        default="1",
        metavar="X",
        help="factor by which the replay is faster than the recording (default 1)",
    )
    parser.add_argument(
        "--keep-ids",
        action="store_true",
        help="send the ids of the tasks too. A task of a unique type may then be a duplicate",
    )
    options.add_follow(parser)
    asking.add_yes(parser)
    output.add_output(parser)


def run(args: argparse.Namespace) -> int:
    """`loadgen replay`"""
    config = options.read_config(args)
    expectations = output.read_expectations(args)
    try:
        speed = float(args.speed.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < 1e9:
        raise UsageError(f"--speed must be a number above 0, got {args.speed!r}; write it like 2")
    workload = read_recording(
        args.recording,
        speed=speed,
        drain_timeout_s=options.drain_timeout_s(args),
        keep_ids=args.keep_ids,
    )
    check_types(expectations, workload.mix.types)
    remark(f"replaying {workload.total:,.0f} tasks to {config.queue.key!r}")
    first = asking.ask_first(args, workload.mix.types, config.queue.key)
    experiment = Experiment(config, workload, kind="replay", ask_first=first)
    result = run_loop(
        conduct(
            experiment, workload, config.queue.key, wait_on_interrupt=args.on_interrupt == "wait"
        )
    )
    return output.finish(result, args, expectations)
