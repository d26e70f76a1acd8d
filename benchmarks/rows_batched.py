"""The handler of the batch scenario that writes up to 500 rows with one statement."""

from __future__ import annotations

from benchmarks.peers.clock import CLOCK
from benchmarks.postgres import connection
from taskrig import Task, handler


@handler("row", batch=500, linger_s=0.05)
def rows(tasks: list[Task]) -> None:
    """One INSERT, a row for each task."""
    CLOCK.begin()
    texts = ",".join([task.data["text"] for task in tasks])  # as an array: they have no commas
    connection().execute("INSERT INTO rows (text) SELECT unnest($1::text[])", [f"{{{texts}}}"])
    for _ in tasks:
        CLOCK.tock()
