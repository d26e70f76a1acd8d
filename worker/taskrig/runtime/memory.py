"""The memory of a process as Linux tells it; 0 where nothing can be seen."""

from __future__ import annotations

import contextlib
import os

_PAGE = os.sysconf("SC_PAGE_SIZE")
_RESIDENT, _DATA = 1, 5  # <proc_pid_statm(5)>


def resident_bytes(pid: int | None = None) -> int:
    """What a process has in memory, this one by default; 0 for one that has ended."""
    return _statm(pid, _RESIDENT)


def data_bytes() -> int:
    """What counts for RLIMIT_DATA in this process."""
    return _statm(None, _DATA)


def _statm(pid: int | None, field: int) -> int:
    with (
        contextlib.suppress(OSError, IndexError, ValueError),
        open(f"/proc/{pid or 'self'}/statm", "rb") as statm,
    ):
        return int(statm.read().split()[field]) * _PAGE
    return 0
