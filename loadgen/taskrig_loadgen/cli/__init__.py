"""The loadgen command: `loadgen --mix ...` and the subcommands. Only here anything is printed."""

from __future__ import annotations

try:
    from taskrig.runtime import early
except ImportError:
    # In the current folder, or on PYTHONPATH, something else has the name of the package.
    import sys
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec("taskrig")
    if spec is None:
        raise
    sys.stderr.write(f"loadgen: {spec.origin} hides the package taskrig; rename it\n")
    raise SystemExit(2) from None

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run `loadgen` with these arguments (sys.argv by default); returns the exit code."""
    if argv is not None:  # inside another program, whose signals are its own
        from taskrig_loadgen.cli.entry import main as run

        return run(argv)
    early.end_at_once(130)
    try:
        # Imported only now: it takes a while, and a signal may come meanwhile.
        from taskrig_loadgen.cli.entry import main as run

        early.interrupt()
        return run()
    except KeyboardInterrupt:
        return 130
