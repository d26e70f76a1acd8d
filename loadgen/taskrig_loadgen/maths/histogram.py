"""Mergeable histograms of durations: HDR, microseconds up to an hour, three digits. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

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


def at_share(histogram: HdrHistogram, share: float) -> float:
    """Seconds at or below which `share` of the counts lie (0.99 for p99)."""
    return float(histogram.get_value_at_percentile(share * 100)) / 1e6


def curve(encoded: str, shares: Sequence[float]) -> list[float]:
    """Seconds at each of the rising shares, for a plot: the figures that a table shows."""
    found = merge([encoded]).get_percentile_to_value_dict([share * 100 for share in shares])
    return [found[share * 100] / 1e6 for share in shares]  # equal shares are one there
