"""The comparison with other task queues as tables: a pure function of the result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table


def render(result: dict[str, Any]) -> Iterator[Table]:
    """A table for each figure."""
    for table in result["tables"]:
        shown = Table(title=f"{table['text']}: {table['unit']}", title_justify="left")
        shown.add_column("task queue")
        for name in ("median", "least", "greatest", "ours / theirs"):
            shown.add_column(name, justify="right")
        for row in table["rows"]:
            shown.add_row(*cells(row))
        yield shown


def cells(row: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """Name, median, least, greatest and ratio as text."""
    if row["median"] is None:
        why = row["failures"][-1] if row["failures"] else "not measured"
        return row["name"], why, "", "", ""
    low, high = row["spread"]
    ratio = f"{row['ratio']:.2f}" if row["ratio"] is not None else ""
    return row["name"], figure(row["median"]), figure(low), figure(high), ratio


def figure(value: float) -> str:
    """A number with as many digits as it deserves."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
