"""Build a backlog while the queue is paused, let go, and time how fast it drains."""

from __future__ import annotations

import argparse
import secrets
from typing import Any

from taskrig.broker import QueueCommands
from taskrig.config.sections import Config
from taskrig.errors import TaskrigError, UsageError
from taskrig.frame.output import remark
from taskrig_loadgen.analysis.expectations import check_types
from taskrig_loadgen.cli import asking, options, output
from taskrig_loadgen.cli.live import conduct, run_loop
from taskrig_loadgen.connection import ask, clear_errors, connected
from taskrig_loadgen.load.workload import Workload
from taskrig_loadgen.queueview import look
from taskrig_loadgen.result.model import Result
from taskrig_loadgen.run.experiment import Experiment

EXAMPLE = "loadgen drain --backlog 5000"
PAUSE_S = 900  # the pause ends by itself after so long, should loadgen be killed
ANSWER_S = 5.0  # for the two commands that pause the queue and let it go


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `loadgen drain`."""
    parser.add_argument(
        "--backlog",
        default="20000",
        metavar="N",
        help="number of tasks to push before the clock starts (default 20000)",
    )
    options.add_mix(parser, required=False)
    parser.set_defaults(mix="noop=1")
    parser.add_argument("--no-pause", action="store_true", help="fill the queue without pausing it")
    options.add_follow(parser)
    asking.add_yes(parser)
    output.add_output(parser)


def run(args: argparse.Namespace) -> int:
    """`loadgen drain`"""
    config = options.read_config(args)
    expectations = output.read_expectations(args)
    mix = options.read_mix(args, config)
    check_types(expectations, mix.types)
    backlog = options.whole(args.backlog, "--backlog")
    cycle = mix.reduced()
    workload = Workload(
        mix=cycle,
        repeat=max(1, round(backlog / cycle.total)),
        seed=args.seed,
        drain_timeout_s=options.drain_timeout_s(args),
    )
    if not args.no_pause:
        remark(
            f"pausing {config.queue.key!r} until the backlog is there: no task of any type starts"
        )
    remark(f"building a backlog of {workload.total:,.0f} tasks ({cycle.text})")
    wait = args.on_interrupt == "wait"
    first = asking.ask_first(args, mix.types, config.queue.key)
    result = run_loop(
        _drain(config, workload, first, pause=not args.no_pause, wait_on_interrupt=wait)
    )
    return output.finish(result, args, expectations)


async def _drain(
    config: Config,
    workload: Workload,
    first: asking.Asked | None,
    *,
    pause: bool,
    wait_on_interrupt: bool,
) -> Result:
    commands = QueueCommands(config)
    async with connected(config, timeout_s=ANSWER_S) as client:
        why = f"loadgen drain {secrets.token_hex(4)}"

        async def let_go() -> None:
            with clear_errors(config):
                if await ask(client, commands.pause_reason()) == why:  # else it is another's
                    await ask(client, commands.resume())

        if first is not None:  # before the pause, which stops other types too
            with clear_errors(config):
                view = await look(client, commands)
            await first(view)
        if pause:
            await _pause(client, config, why)
        experiment = Experiment(config, workload, kind="drain", when_sent=let_go if pause else None)
        try:
            return await conduct(
                experiment, workload, config.queue.key, wait_on_interrupt=wait_on_interrupt
            )
        finally:
            if pause:
                try:
                    await let_go()
                except TaskrigError as error:  # must not cost the report
                    remark(f"the queue stays paused, for up to {PAUSE_S // 60} min: {error}")


async def _pause(client: Any, config: Config, why: str) -> None:
    with clear_errors(config):
        done = await ask(client, QueueCommands(config).pause(why, PAUSE_S))
    if not done:
        raise UsageError(
            f"{config.queue.key!r} is paused already; resume it first (worker resume), "
            "or add --no-pause"
        )
