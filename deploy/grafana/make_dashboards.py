"""Write deploy/grafana/dashboards/*.json from boards/. Run it after every change there.

    python deploy/grafana/make_dashboards.py [--check]

With --check nothing is written; exit code 1 when a file is not what would be written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from boards import BOARDS
from boards.queries import Board, Panel

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24  # of Grafana's grid
STAT_HEIGHT, BAND_HEIGHT, GRAPH_HEIGHT = 4, 5, 8


def main(arguments: list[str]) -> int:
    """Write, or with --check compare, every dashboard."""
    stale = []
    for board in BOARDS:
        path = FOLDER / f"{board.uid}.json"
        text = json.dumps(dashboard(board), indent=2) + "\n"
        if path.exists() and path.read_text() == text:
            continue
        stale.append(path.name)
        if "--check" not in arguments:
            FOLDER.mkdir(exist_ok=True)
            path.write_text(text)
    if stale:
        print("differs:" if "--check" in arguments else "written:", *stale)
    return 1 if stale and "--check" in arguments else 0


def dashboard(board: Board) -> dict[str, Any]:
    """The JSON that Grafana provisions: a uid of its own, no id, a real datasource variable."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.description,
        "tags": ["taskrig"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [_link()],
        "templating": {"list": [_datasource(), *_variables(board)]},
        "panels": _placed(board.panels),
    }


def _link() -> dict[str, Any]:
    return {
        "type": "dashboards",
        "title": "Taskrig",
        "tags": ["taskrig"],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "",
        "tooltip": "",
        "url": "",
    }


def _datasource() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
    }


def _variables(board: Board) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,  # when the time range changes
            "includeAll": True,
            "allValue": ".+",
            "multi": True,
            "sort": 1,
            "current": {"text": ["All"], "value": ["$__all"]},
        }
        for name, query in board.variables.items()
    ]


def _placed(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    """Single numbers in a row at the top, then bands, graphs in two columns below."""
    stats = [panel for panel in panels if panel.stat]
    bands = [panel for panel in panels if panel.band]
    graphs = [panel for panel in panels if not panel.stat and not panel.band]
    placed, top = [], STAT_HEIGHT if stats else 0
    for n, panel in enumerate(stats):
        width = WIDTH // len(stats)
        placed.append(_panel(panel, {"x": n * width, "y": 0, "w": width, "h": STAT_HEIGHT}))
    for panel in bands:
        placed.append(_panel(panel, {"x": 0, "y": top, "w": WIDTH, "h": BAND_HEIGHT}))
        top += BAND_HEIGHT
    for n, panel in enumerate(graphs):
        width, row = WIDTH // 2, n // 2
        spot = {"x": n % 2 * width, "y": top + row * GRAPH_HEIGHT, "w": width, "h": GRAPH_HEIGHT}
        placed.append(_panel(panel, spot))
    return [{"id": number, **panel} for number, panel in enumerate(placed, 1)]


def _panel(panel: Panel, spot: dict[str, int]) -> dict[str, Any]:
    return {
        "type": "stat" if panel.stat else "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": spot,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _stat_options() if panel.stat else _graph_options(),
        "targets": [
            {"refId": chr(ord("A") + n), "expr": expr, "legendFormat": legend, "datasource": SOURCE}
            for n, (legend, expr) in enumerate(panel.series.items())
        ],
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    shown: dict[str, Any] = {"unit": panel.unit, "min": 0, "color": {"mode": "palette-classic"}}
    if panel.unit == "percentunit" or panel.band:
        shown["max"] = 1
    return shown if panel.stat else {**shown, "custom": _lines(panel)}


def _lines(panel: Panel) -> dict[str, Any]:
    if panel.band:
        steps = {"lineInterpolation": "stepAfter", "axisPlacement": "hidden"}
        return {"fillOpacity": 40, "lineWidth": 0, "showPoints": "never", **steps}
    return {"fillOpacity": 8, "lineWidth": 1, "showPoints": "never"}


def _stat_options() -> dict[str, Any]:
    return {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "value",
        "wideLayout": True,
        "percentChangeColorMode": "standard",
        "showPercentChange": False,
    }


def _graph_options() -> dict[str, Any]:
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
