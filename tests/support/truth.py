"""What the truth tests share: how long they run.

In CI they are scaled down; `make truth` sets TRUTH=full. A test that compares percentiles with
theory measures the machine too: the errors it allows are stated where it is.
"""

from __future__ import annotations

import os

FULL = os.environ.get("TRUTH") == "full"


def scaled(short: float, full: float) -> float:
    """`full` under `make truth`, else `short`."""
    return full if FULL else short
