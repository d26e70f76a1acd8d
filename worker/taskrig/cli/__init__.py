"""The `worker` command. Only here anything is printed."""

from __future__ import annotations

import sys

from taskrig.runtime import early

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, that of the command line by default; returns its exit code."""
    if argv is not None:  # inside another program, whose signals are its own
        from taskrig.cli.entry import main as run

        return run(argv)
    command = sys.argv[1] if len(sys.argv) > 1 else "run"
    runs = command == "run" or command.startswith("-")
    early.end_at_once(0, "worker") if runs else early.end_at_once(130)
    try:
        # Imported only now: it takes a while, and a signal may come meanwhile.
        from taskrig.cli.entry import main as run

        if runs:
            early.take(lambda *_: None, early.TELL)  # nothing runs yet
        else:
            early.interrupt()
        code = run()
        if runs:
            from taskrig.process.ending import end_within

            end_within(code)
        return code
    except KeyboardInterrupt:
        return 130
