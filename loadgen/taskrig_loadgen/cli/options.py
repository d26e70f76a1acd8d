"""Options that several commands share, and the mix checked against the config."""

from __future__ import annotations

import argparse
import re
from typing import Any

from taskrig.config.sections import Config
from taskrig.errors import UsageError
from taskrig.frame.output import remark
from taskrig.frame.settings import config_from_args
from taskrig_loadgen.load.mix import Mix, near_miss, parse_mix
from taskrig_loadgen.load.workload import DRAIN_TIMEOUT_S
from taskrig_loadgen.quantity import duration_s
from taskrig_loadgen.run.external_observer import MODES


def read_config(args: argparse.Namespace) -> Config:
    """The config that file, environment and flags make; raises UsageError."""
    return config_from_args(args)


def add_mix(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """--mix, --allow-unknown, --seed."""
    parser.add_argument(
        "--mix",
        required=required,
        metavar="TYPE=N,...",
        help="how many tasks of each type to send. fast, medium and slow stand for fast_task "
        "(0.5 s), medium_task (1 s) and slow_task (2 s). Every other type name is sent as it is",
    )
    parser.add_argument(
        "--allow-unknown",
        action="store_true",
        help="also send types whose names look like a misspelt known type",
    )
    parser.add_argument(
        "--seed",
        type=_seed,
        default=0,
        metavar="N",
        help="start value of the random numbers: equal seeds send equal tasks (default 0)",
    )


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None


def add_list(parser: argparse.ArgumentParser) -> None:
    """--list."""
    parser.add_argument(
        "--list",
        metavar="NAME",
        help="push to this list of the queue; it must be one of queue.lists",
    )


def read_list(args: argparse.Namespace, config: Config) -> str:
    """The list to push to, "" for the queue's key; raises UsageError for one it does not have."""
    name: str = args.list or ""
    if name and name not in config.queue.sources:
        known = ", ".join(config.queue.sources)
        raise UsageError(f"--list {name!r}: queue.lists names no such list; there is {known}")
    return name


def read_mix(args: argparse.Namespace, config: Config) -> Mix:
    """The mix of --mix; raises UsageError for a bad one or a type that looks misspelt."""
    mix = parse_mix(args.mix)
    check_types(mix, config, allow_unknown=args.allow_unknown)
    return mix


def whole(text: str, what: str) -> int:
    """A whole number of at least 1; raises UsageError."""
    clean = text.replace("_", "").replace(",", "")
    if not clean.isascii() or not clean.isdigit() or not 1 <= int(clean) <= 10**9:
        raise UsageError(f"{what} must be a whole number of at least 1, got {text!r}")
    return int(clean)


def counts(text: str, what: str) -> list[int]:
    """Different numbers of slots, `1,2,5`; raises UsageError."""
    numbers = [whole(part.strip(), what) for part in text.split(",")]
    if len(set(numbers)) != len(numbers):
        raise UsageError(f"{what} {text!r}: a number is given twice")
    if max(numbers) > 10_000:
        raise UsageError(f"{what} {text!r}: at most 10000")
    return numbers


def percent(text: str, what: str) -> float:
    """A share from `4%` or `4`; raises UsageError unless above 0 and below 100."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%?\s*", text)
    if not match or not 0 < float(match[1]) < 100:
        raise UsageError(f"{what} must be between 0 and 100 %, got {text!r}; write it like 4%")
    return float(match[1]) / 100


def check_types(mix: Mix, config: Config, *, allow_unknown: bool) -> None:
    """Refuse types that look like misspelt known ones, remark on other unknown ones."""
    known = [*configured_types(config), "noop", "email", "file_process"]
    unknown = mix.unknown(known)
    if allow_unknown or not unknown:
        return
    for name in unknown:
        meant = near_miss(name, known)
        if meant:
            raise UsageError(
                f"--mix: unknown type {name!r}; did you mean {meant}? "
                "(--allow-unknown sends it as it is)"
            )
    names = ", ".join(repr(name) for name in unknown[:5])
    remark(f"note: the config does not name {names}; the worker decides what handles it")


def configured_types(config: Config) -> list[str]:
    """The task types that the config has settings for."""
    tasks: Any = getattr(config, "tasks", {})
    return list(tasks) if isinstance(tasks, dict) else []


def add_follow(parser: argparse.ArgumentParser) -> None:
    """--drain-timeout and --on-interrupt."""
    parser.add_argument(
        "--drain-timeout",
        metavar="TIME",
        help="stop waiting for the remaining tasks when none has ended for this long (default 30s)",
    )
    parser.add_argument(
        "--on-interrupt",
        choices=("stop", "wait"),
        default="stop",
        help="what Ctrl-C does (default stop). stop reports at once. wait first waits for the "
        "tasks that were sent",
    )


def add_observe(parser: argparse.ArgumentParser) -> None:
    """--observe and --worker-metrics."""
    parser.add_argument(
        "--observe",
        choices=MODES,
        default="probe",
        help="how loadgen learns that tasks have ended (default probe). probe reads the worker's "
        "completion records and is exact. queue reads depths only. metrics reads depths and "
        "--worker-metrics",
    )
    parser.add_argument(
        "--worker-metrics",
        nargs="+",
        default=[],
        metavar="URL",
        help="URLs of the /metrics pages of all workers, for --observe metrics",
    )


def check_observe(args: argparse.Namespace) -> None:
    """Raises UsageError unless --observe and --worker-metrics fit together."""
    if (args.observe == "metrics") != bool(args.worker_metrics):
        raise UsageError("--observe metrics and --worker-metrics URL belong together")
    for url in args.worker_metrics:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"--worker-metrics {url!r}: write it like http://host:9464/metrics")


def drain_timeout_s(args: argparse.Namespace, other: float = DRAIN_TIMEOUT_S) -> float:
    """Seconds of --drain-timeout, `other` without it; raises UsageError."""
    if args.drain_timeout is None:
        return other
    return duration_s(args.drain_timeout, "--drain-timeout")
