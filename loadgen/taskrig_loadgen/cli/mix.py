"""Push exactly this mix once, follow it to the end, report."""

from __future__ import annotations

import argparse

from taskrig.frame.output import remark
from taskrig_loadgen.analysis.expectations import check_types
from taskrig_loadgen.cli import asking, options, output
from taskrig_loadgen.cli.live import conduct, run_loop
from taskrig_loadgen.load.workload import Workload
from taskrig_loadgen.result.verdict import exit_code
from taskrig_loadgen.run.experiment import Experiment

EXAMPLE = "loadgen --mix fast=3,medium=2,slow=2"
EPILOG = f"""example:
  {EXAMPLE}
      push exactly these seven tasks, smoothly interleaved in a fixed order, follow them, report
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the bare command."""
    options.add_mix(parser, required=False)
    options.add_list(parser)
    options.add_follow(parser)
    options.add_observe(parser)
    asking.add_yes(parser)
    output.add_output(parser)
    parser.add_argument(
        "--no-follow",
        action="store_true",
        help="push the tasks and end, without waiting until they have run",
    )


def run(args: argparse.Namespace) -> int:
    """`loadgen --mix ...`"""
    if args.mix is None:  # only now: a command that is not the first word has an error of its own
        args.parser.error("the following arguments are required: --mix")
    config = options.read_config(args)
    expectations = output.read_expectations(args)
    options.check_observe(args)
    mix = options.read_mix(args, config)
    check_types(expectations, mix.types)
    to = options.read_list(args, config)
    workload = Workload(
        mix=mix, list=to, seed=args.seed, drain_timeout_s=options.drain_timeout_s(args)
    )
    queue = config.queue.key
    experiment = Experiment(
        config,
        workload,
        kind="mix",
        observe=args.observe,
        scrape_urls=args.worker_metrics,
        ask_first=asking.ask_first(args, mix.types, queue),
    )
    remark(f"pushing {mix.total:,} tasks ({mix.text}) to {to or queue!r}")
    result = run_loop(
        conduct(
            experiment,
            workload,
            queue,
            follow=not args.no_follow,
            wait_on_interrupt=args.on_interrupt == "wait",
        )
    )
    if args.no_follow and not args.json and not args.out and not exit_code(result):
        print(f"pushed {result.accounting.sent:,} tasks to {to or queue!r}")
        return 0
    return output.finish(result, args, expectations)
