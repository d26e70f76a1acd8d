"""The handler of the batch scenario that writes one row a task."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.clock import CLOCK
from benchmarks.postgres import connection
from taskrig import handler


@handler("row")
def row(data: dict[str, Any]) -> None:
    """One INSERT, one row."""
    CLOCK.begin()
    connection().execute("INSERT INTO rows (text) VALUES ($1)", [data["text"]])
    CLOCK.tock()
