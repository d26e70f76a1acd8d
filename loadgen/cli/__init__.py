"""The loadgen command: `loadgen --mix ...` and the subcommands. Only here anything is printed."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run `loadgen` with these arguments (sys.argv by default); returns the exit code."""
    try:
        # Imported here, so that Ctrl-C while Python still reads modules is no traceback.
        from loadgen.cli.entry import main as run

        return run(argv)
    except KeyboardInterrupt:
        return 130
