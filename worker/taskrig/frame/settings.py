"""The config flags that every command of both programs takes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from taskrig.config.sources import FLAGS

if TYPE_CHECKING:
    from taskrig.config.sections import Config

_DEST = "setting:"  # cannot clash with a flag of the program's own


def add_config_flags(parser: argparse.ArgumentParser) -> None:
    """Add --config, --redis-url, --redis-key and --set to a command's parser."""
    group = parser.add_argument_group("configuration (defaults < file < environment < flags)")
    group.add_argument(
        "--config",
        metavar="FILE",
        help="YAML file to read (default: ./config.yaml, if there is one)",
    )
    add_setting_flag(
        group,
        "redis.url",
        "URL",
        "address of Redis: redis://, rediss:// or unix://. Do not put a password into it: "
        "others see flags in the process list",
    )
    add_setting_flag(group, "queue.key", "KEY", "name of the list of tasks (default: async_tasks)")
    group.add_argument(
        "--set",
        dest="config_sets",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any setting of config.yaml, such as --set worker.lease=30s. May be given several "
        "times",
    )


def add_setting_flag(
    group: argparse._ActionsContainer, setting: str, metavar: str, help_text: str
) -> None:
    """Add the flag of one setting; its text is read when the configuration is loaded."""
    group.add_argument(FLAGS[setting], dest=_DEST + setting, metavar=metavar, help=help_text)


def config_from_args(args: argparse.Namespace, *, env: Mapping[str, str] | None = None) -> Config:
    """Load the configuration that the flags ask for.

    Raises:
        UsageError: with every problem, a line each.
    """
    from taskrig.config.load import load_config

    return load_config(
        config_file(args),
        env=os.environ if env is None else env,
        overrides=overrides_of(args),
        sets=args.config_sets,
    )


def config_file(args: argparse.Namespace) -> Path | None:
    """The file that --config names."""
    return Path(args.config) if args.config is not None else None


def overrides_of(args: argparse.Namespace) -> dict[str, str]:
    """The settings that were given by a flag of their own, by dotted key."""
    return {
        dest.removeprefix(_DEST): value
        for dest, value in vars(args).items()
        if dest.startswith(_DEST) and value is not None
    }
