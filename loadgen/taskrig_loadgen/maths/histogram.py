"""Mergeable histograms of durations: HDR, microseconds up to an hour, three digits. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hdrh.histogram import HdrHistogram

_LOWEST_US, _HIGHEST_US, _DIGITS = 1, 3600 * 1_000_000, 3


def encode(values_s: Iterable[float]) -> str:
    """The durations (seconds) as a compressed HDR histogram, base64; below 1 us counts as 1 us."""
    histogram = HdrHistogram(_LOWEST_US, _HIGHEST_US, _DIGITS)
    counts = Counter(min(max(int(v * 1e6 + 0.5), _LOWEST_US), _HIGHEST_US) for v in values_s)
    for value, count in counts.items():
        histogram.record_value(value, count)
    return str(histogram.encode().decode())


def merge(encoded: Iterable[str]) -> HdrHistogram:
    """One histogram (microseconds) of several encoded ones."""
    whole = HdrHistogram(_LOWEST_US, _HIGHEST_US, _DIGITS)
    for part in encoded:
        whole.decode_and_add(part)
    return whole


def curve(encoded: str) -> list[tuple[float, float]]:
    """(percentile, seconds) points of the distribution, for a plot."""
    histogram = merge([encoded])
    points = []
    for item in histogram.get_percentile_iterator(5):
        points.append((item.percentile_level_iterated_to, item.value_iterated_to / 1e6))
        if item.percentile_level_iterated_to >= 100:
            break
    return points
