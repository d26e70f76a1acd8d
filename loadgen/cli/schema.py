"""Print the JSON Schema of a result."""

from __future__ import annotations

import argparse

from loadgen.result import schema_text

EXAMPLE = "loadgen schema"


def configure(parser: argparse.ArgumentParser) -> None:
    """No options."""


def run(args: argparse.Namespace) -> int:
    """`loadgen schema`"""
    print(schema_text())
    return 0
