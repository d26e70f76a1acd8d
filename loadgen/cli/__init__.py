"""The loadgen command: `loadgen --mix ...` and the subcommands. Only here anything is printed."""

from __future__ import annotations

from loadgen.cli.main import main

__all__ = ["main"]
