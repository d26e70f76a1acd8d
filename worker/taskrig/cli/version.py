"""`worker version`, also `worker --version`."""

from __future__ import annotations

import argparse
import platform

from taskrig.frame.parser import Commands, command

EXAMPLES = """\
example:
  worker version"""


def add(commands: Commands) -> None:
    """Add the command."""
    command(commands, "version", execute, about="print the version", examples=EXAMPLES)


def execute(args: argparse.Namespace) -> int:
    """Print the versions of Taskrig and of Python; returns 0."""
    from taskrig import __version__

    print(f"taskrig {__version__} (Python {platform.python_version()})")
    return 0
