"""Charts as SVG text, drawn by hand: no library, no network, colours from the page's CSS. Pure.

A chart is 480 units wide, about the width of a phone, so that its text stays readable there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 480, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 10, 34

Format = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart; None is a gap. `style` is a CSS class: s1 to s6."""

    label: str
    style: str
    ys: Sequence[float | None]
    fill: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to places on the picture."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value, kept inside the picture."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, low))
        share = (value - low) / (high - low) if high > low else 0.0
        return self.start + (self.end - self.start) * min(max(share, 0.0), 1.0)


def nice_ticks(high: float, most: int = 5) -> list[float]:
    """0 and round steps up to the first one at or above `high`."""
    if high <= 0:
        return [0.0, 1.0]
    raw = high / most
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
    return [step * n for n in range(math.ceil(high / step - 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten around low..high."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**n for n in range(first, max(last, first + 1) + 1)]


def line_chart(
    name: str,
    xs: Sequence[float],
    lines: Sequence[Line],
    *,
    x_format: Format,
    y_format: Format,
    y_axis: Format | None = None,
    log_y: bool = False,
    x_ticks: Sequence[tuple[float, str]] | None = None,
    x_label: str = "",
) -> str:
    """Lines over a common x; `name` is read out by screen readers.

    Values for the reader's pointer travel in a data attribute; the page's script shows them.
    """
    values = [y for line in lines for y in line.ys if y is not None and (y > 0 or not log_y)]
    if not xs or not values:
        return '<p class="none">No data for this chart.</p>'
    ticks = log_ticks(max(min(values), 1e-6), max(values)) if log_y else nice_ticks(max(values))
    y = Scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP, log_y)
    x = Scale(xs[0], max(xs[-1], xs[0] + 1e-9), LEFT, WIDTH - RIGHT)
    if x_ticks is None:
        x_ticks = [(t, x_format(t)) for t in nice_ticks(xs[-1], 6) if t <= xs[-1] * 1.0001]
    parts = [_grid(y, ticks, y_axis or y_format), _x_axis(x, x_ticks, x_label)]
    parts += [_path(line, xs, x, y, log_y) for line in lines]
    hover = {
        "x": [round(x(v), 1) for v in xs],
        "at": [x_format(v) for v in xs],
        "lines": [
            [line.label, ["-" if v is None else y_format(v) for v in line.ys]] for line in lines
        ],
    }
    data = escape(json.dumps(hover, separators=(",", ":")), quote=True)
    return (
        f'<div class="chart" data-hover="{data}"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(name, quote=True)}">{"".join(parts)}'
        f'<line class="cursor" y1="{TOP}" y2="{HEIGHT - BOTTOM}" x1="-9" x2="-9"/></svg>'
        f'<div class="tip" hidden></div></div>{legend(lines)}'
    )


def legend(lines: Sequence[Line]) -> str:
    """The names of the lines, each with its colour."""
    items = "".join(
        f'<li><span class="key {line.style}"></span>{escape(line.label)}</li>' for line in lines
    )
    return f'<ul class="legend">{items}</ul>'


def _grid(y: Scale, ticks: Sequence[float], y_format: Format) -> str:
    parts = []
    for tick in ticks:
        at = y(tick)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        )
        label = escape(y_format(tick))
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
    return "".join(parts)


def _x_axis(x: Scale, ticks: Sequence[tuple[float, str]], label: str) -> str:
    parts = []
    for value, text in ticks:
        parts.append(
            f'<text x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">'
            f"{escape(text)}</text>"
        )
    if label:
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(
            f'<text class="label" x="{middle:.0f}" y="{HEIGHT - 4}" text-anchor="middle">'
            f"{escape(label)}</text>"
        )
    return "".join(parts)


def _path(line: Line, xs: Sequence[float], x: Scale, y: Scale, log_y: bool) -> str:
    runs: list[list[tuple[float, float]]] = [[]]
    for at, value in zip(xs, line.ys, strict=True):
        if value is None or (log_y and value <= 0):
            runs.append([])
        else:
            runs[-1].append((x(at), y(value)))
    parts = []
    for run in filter(None, runs):
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in run)
        if len(run) == 1:
            (a, b), r = run[0], 2.5
            parts.append(f'<circle class="dot {line.style}" cx="{a:.1f}" cy="{b:.1f}" r="{r}"/>')
            continue
        if line.fill:
            base = HEIGHT - BOTTOM
            parts.append(
                f'<polygon class="area {line.style}" '
                f'points="{run[0][0]:.1f},{base} {points} {run[-1][0]:.1f},{base}"/>'
            )
        parts.append(f'<polyline class="line {line.style}" points="{points}"/>')
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a bar chart: parts laid end to end, and a mark further out."""

    label: str
    parts: Sequence[tuple[str, float]]  # (style, value)
    mark: float | None = None
    text: str = ""


def bar_chart(name: str, bars: Sequence[Bar], *, x_format: Format) -> str:
    """Horizontal bars, one row each, from 0."""
    if not bars:
        return '<p class="none">No data for this chart.</p>'
    reach = max(max(sum(v for _, v in bar.parts), bar.mark or 0) for bar in bars)
    ticks = nice_ticks(reach or 1e-6, 4)
    row, top = 42, 4
    height = top + row * len(bars) + 22
    x = Scale(0, ticks[-1], 14, WIDTH - 26)
    parts = []
    for tick in ticks:
        at = x(tick)
        parts.append(
            f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{height - 20}"/>'
        )
        said = escape(x_format(tick))
        parts.append(f'<text x="{at:.1f}" y="{height - 6}" text-anchor="middle">{said}</text>')
    for number, bar in enumerate(bars):
        parts.append(_bar(bar, x, top + number * row))
    return (
        f'<div class="chart"><svg viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(name, quote=True)}">{"".join(parts)}</svg></div>'
    )


def _bar(bar: Bar, x: Scale, top: float) -> str:
    said = escape(bar.label if len(bar.label) <= 40 else bar.label[:37] + "...")
    parts = [
        f'<text class="name" x="14" y="{top + 14}">{said} '
        f'<tspan class="label">{escape(bar.text)}</tspan></text>'
    ]
    total = 0.0
    for style, value in bar.parts:
        start, end = x(total), x(total + value)
        width = max(end - start, 0.5)
        where = f'x="{start:.1f}" y="{top + 19}" width="{width:.1f}" height="13"'
        parts.append(f'<rect class="{style}" {where}/>')
        total += value
    if bar.mark is not None:
        at = x(bar.mark)
        parts.append(
            f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{top + 16}" y2="{top + 35}"/>'
        )
    return "".join(parts)
