"""The loadgen command: `loadgen --mix ...` and the subcommands. Only here anything is printed."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run `loadgen` with these arguments (sys.argv by default); returns the exit code."""
    try:
        # Imported here, so that Ctrl-C while Python still reads modules is no traceback; and by a
        # handler, because Python ends by the signal, not with 130, where a KeyboardInterrupt came
        # up in code that was exec'd, as dataclasses are made, however well it is caught.
        before = signal.signal(signal.SIGINT, lambda *_: os._exit(130))
        from loadgen.cli.entry import main as run

        signal.signal(signal.SIGINT, before)
        return run(argv)
    except KeyboardInterrupt:
        return 130
