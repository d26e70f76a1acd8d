"""What the truth tests share: how long they run, and workers whose behaviour is known.

In CI they are scaled down; `make truth` sets TRUTH=full. A test that compares percentiles with
theory measures the machine too: the errors it allows are stated where it is.
"""

from __future__ import annotations

import os

import pytest

FULL = os.environ.get("TRUTH") == "full"
PICKUP_S = 0.0015  # what a push may need to reach a free slot


def scaled(short: float, full: float) -> float:
    """`full` under `make truth`, else `short`."""
    return full if FULL else short


def agrees(measured_s: float, theory_s: float, error: float) -> None:
    """Within the stated error; in CI, where a real worker shares a busy machine, roughly."""
    if FULL:
        assert measured_s - PICKUP_S == pytest.approx(theory_s, rel=error, abs=PICKUP_S)
    else:
        assert measured_s < theory_s * 3 + 0.1
