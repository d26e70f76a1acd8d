"""Print the JSON Schema of a result."""

from __future__ import annotations

import argparse
import json

from taskrig_loadgen.result.store import schema

EXAMPLE = "loadgen schema"


def configure(parser: argparse.ArgumentParser) -> None:
    """No options."""


def run(args: argparse.Namespace) -> int:
    """`loadgen schema`"""
    print(json.dumps(schema(), indent=1))
    return 0
