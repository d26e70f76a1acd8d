"""Puts what the plan's truth test measured into docs/loadgen.md: `make truth-plan`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.truth.full_plans import MIXES, RESULTS, middle

PAGE = Path(__file__).parents[2] / "docs" / "loadgen.md"
BEGIN = "<!-- made by `make truth-plan` -->\n"
END = "<!-- end of what `make truth-plan` made -->\n"
HEAD = """| mix (ms) | load | rate | mean wait: predicted | measured | ratio | p99: predicted | measured | ratio |
|---|---:|---:|---:|---:|---:|---:|---:|---:|
"""  # noqa: E501 - a table's row is one line


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown; of several rounds the round whose mean has the median ratio."""
    return HEAD + "".join(_row(row) for row in rows)


def _row(row: dict[str, Any]) -> str:
    rounds = sorted(row["rounds"], key=lambda r: r["mean"]["measured_s"] / r["mean"]["predicted_s"])
    one = rounds[len(rounds) // 2]
    cells = [row["mix"].replace("ms", ""), f"{row['load']:.0%}", f"{one['rate_per_s']:.0f}/s"]
    for name in ("mean", "p99"):
        spread = [r[name]["measured_s"] / r[name]["predicted_s"] for r in rounds]
        cells += [f"{one[name][key] * 1e3:.2f} ms" for key in ("predicted_s", "measured_s")]
        cells.append(f"{middle(rounds, name):.2f} ({min(spread):.2f} to {max(spread):.2f})")
    return f"| {' | '.join(cells)} |\n"


def main() -> int:
    """Replace the table of the page by what the latest full run left."""
    rows = []
    for name in MIXES:
        path = RESULTS / f"truth-plan-{name.replace(' ', '-')}.json"
        if not path.exists():
            print(f"{path.name} is missing: run make truth-plan", file=sys.stderr)
            return 2
        rows += json.loads(path.read_text())
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    machine = f"{os.cpu_count()} cores, {len(rows[0]['rounds'])} rounds each; ratios are medians."
    PAGE.write_text(f"{before}{BEGIN}{table(rows)}\n{machine}\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
