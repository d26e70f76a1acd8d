"""Expectations: `e2e{type=fast_task}.p99 < 50ms`, `lost == 0`. Pure, judged on a result.

A percentage is a share: of the tasks offered or sent, of the rate offered. As a share, `failed`
is of every task that did not succeed. A figure that the result does not have is a usage error when
its name is wrong, and a failed expectation when its name is right and the run has too few samples.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from msgspec import UNSET

from taskrig.errors import UsageError
from taskrig.texts import did_you_mean
from taskrig_loadgen.load.mix import ALIASES, ALL
from taskrig_loadgen.maths.stats import PERCENTILES
from taskrig_loadgen.quantity import duration_s, show_s
from taskrig_loadgen.result.model import SERIES, Accounting, Judged, Result
from taskrig_loadgen.result.verdict import judge_run

EXAMPLE = "'e2e{type=fast_task}.p99 < 50ms' or 'lost == 0'"
STATISTICS = ("mean", "stddev", "min", "max", *PERCENTILES)
ACCOUNTS = tuple(name for name in Accounting.__struct_fields__ if name != "foreign_records")
TOTALS = ("makespan", "offered", "achieved", "throughput", "efficiency", "clock_anomalies")
RATES = ("achieved", "throughput")  # as a share: of the offered rate
OF_ALL = ("sent", "succeeded", "failed", "lost", "never_arrived", "refused", "unsent")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_SHAPE = re.compile(
    r"\s*(?P<name>[a-z_0-9]+)\s*(?:\{\s*(?P<label>\w+)\s*=\s*\"?(?P<value>[^}\"]*?)\"?\s*\})?"
    r"\s*(?:\.\s*(?P<stat>[a-z]+[0-9.]*))?\s*(?P<op><=|>=|==|!=|<|>)\s*(?P<bound>\S.*?)\s*"
)


@dataclass(frozen=True, slots=True)
class Expectation:
    """One comparison of a figure with a bound (seconds for durations)."""

    text: str
    name: str
    type: str
    statistic: str
    op: str
    bound: float
    is_share: bool = False  # of what was sent or offered

    @property
    def is_duration(self) -> bool:
        """Whether the figure is in seconds."""
        return self.name in SERIES or self.name == "makespan"

    def judge(self, result: Result) -> Judged:
        """The figure, in words too, and whether it is as expected.

        Raises:
            UsageError: the run has no such type.
        """
        value = self.value(result)
        known = value is not None and math.isfinite(value)
        ok = known and _COMPARE[self.op](value or 0.0, self.bound)
        shown = self._show(value or 0.0) if known else self._why_unknown(result)
        return Judged(text=self.text, value=value, shown=shown, ok=bool(ok))

    def _why_unknown(self, result: Result) -> str:
        if self.name in ACCOUNTS:
            why = result.cannot_tell("bad" if self.is_share else self.name)
            if why or not result.left_out or not result.measured("offered"):
                return why or "a share of no tasks"
            return f"not known: {self.name} is not counted apart from the warm-up"
        if result.outside is not UNSET:
            return f"cannot be known {result.outside.cannot}"
        return "too few samples to tell"

    def _show(self, value: float) -> str:
        if self.is_share:
            return f"{value * 100:.4g} %"
        return show_s(value) if self.is_duration else f"{value:,.6g}"

    def value(self, result: Result) -> float | None:
        """The figure itself; None when the run has too few samples to tell it.

        Raises:
            UsageError: the run has no such type.
        """
        if self.name in SERIES:
            check_types([self], result.series)
            return result.series[self.type].get(self.name).get(self.statistic)
        if self.name in ACCOUNTS:
            if self.is_share:
                return _share(result, self.name)
            if result.cannot_tell(self.name):
                return None
            return float(getattr(result.accounting, self.name))
        value = _total(result, self.name)
        if self.is_share and self.name in RATES:
            offered = result.totals.offered_per_s
            return value / offered if value is not None and offered else None
        return value


def _share(result: Result, name: str) -> float | None:
    """Of what was offered, or else of what was sent; `failed` is of every kind."""
    if name == "failed":
        return result.share("bad")
    return result.share(name, "offered" if name in OF_ALL else "sent")


def _total(result: Result, name: str) -> float | None:
    totals = result.totals
    ideal, real = totals.ideal_s, totals.makespan_s
    return {
        "makespan": real,
        "offered": totals.offered_per_s,
        "achieved": totals.achieved_per_s,
        "throughput": totals.done_per_s,
        "efficiency": ideal / real if ideal and real else None,  # 1 is perfect
        "clock_anomalies": float(result.clock.anomalies),
    }[name]


def parse_expectation(text: str, where: str = "--expect") -> Expectation:
    """Read one expectation.

    Raises:
        UsageError: it is none, or names a figure, label or statistic that does not exist.
    """
    match = _SHAPE.fullmatch(text)
    if not match:
        raise UsageError(f"{where} {text!r}: no expectation; write it like {EXAMPLE}")
    name, label, statistic = match["name"], match["label"], match["stat"]
    if name not in (*SERIES, *ACCOUNTS, *TOTALS):
        known = (*SERIES, *ACCOUNTS, *TOTALS)
        hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
        raise UsageError(f"{where} {text!r}: no figure is called {name!r}{hint}")
    if name in SERIES:
        if label not in (None, "type"):
            raise UsageError(f"{where} {text!r}: the only label is type, got {label!r}")
        if statistic not in STATISTICS:
            raise UsageError(
                f"{where} {text!r}: {name} needs one of .{', .'.join(STATISTICS)} after it"
            )
    elif label or (statistic and (name, statistic) != ("failed", "share")):
        raise UsageError(f"{where} {text!r}: {name} is one number; it takes no label and no .p99")
    bound = _bound(name, match["bound"], f"{where} {text!r}")
    is_share = (name != "efficiency" and "%" in match["bound"]) or statistic == "share"
    kind = ALIASES.get(match["value"], match["value"]) or ALL
    said = " ".join(text.split())
    return Expectation(said, name, kind, statistic or "", match["op"], bound, is_share)


def _bound(name: str, text: str, where: str) -> float:
    if name in SERIES or name == "makespan":
        if re.fullmatch(r"[0-9]+\.?[0-9]*|\.[0-9]+", text) and float(text):
            raise UsageError(f"{where}: a duration needs a unit: {text}s or {text}ms?")
        return 0.0 if re.fullmatch(r"0[a-z]*", text) else duration_s(text, where)
    number = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(k?)(?:/s)?(\s*%)?", text)
    if not number:
        raise UsageError(f"{where}: {text!r} is not a number")
    if number[3] and name in ("offered", "clock_anomalies"):
        raise UsageError(f"{where}: {name} has no share; write a number without %")
    return float(number[1]) * (1000 if number[2] else 1) / (100 if number[3] else 1)


def check_types(
    expectations: Iterable[Expectation], types: Iterable[str], where: str = "--expect"
) -> None:
    """Refuse those of a type that a run of these types does not have. Call it before the run.

    Raises:
        UsageError: there is one.
    """
    names = [name for name in types if name != ALL]
    for one in expectations:
        if one.type not in (ALL, *names):
            raise UsageError(
                f"{where} {one.text!r}: this run has no type {one.type!r}; "
                f"it has {', '.join(names)}"
            )


def figure_of(text: str, result: Result) -> float | None:
    """The figure that `e2e{type=T}.p99`, `makespan` or `lost` names; None: too few samples.

    Raises:
        UsageError: there is no such figure, label or type.
    """
    bound = "1s" if text.split(".")[0].split("{")[0] in (*SERIES, "makespan") else "1"
    return parse_expectation(f"{text} < {bound}", "--figure").value(result)


def judge_all(expectations: Iterable[Expectation], result: Result) -> None:
    """Write the judgement of each into the result, and judge the whole by them."""
    result.expectations = [one.judge(result) for one in expectations]
    result.verdict = judge_run(result)
