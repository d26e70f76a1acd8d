"""Lines of config.yaml's `schedule`: a name, cron fields, a time zone, and the task to enqueue."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from taskrig.task import Invalid, decode

_LINE = re.compile(
    r"(?P<name>[A-Za-z0-9._-]{1,64})\s+(?P<cron>(?:\S+\s+){4}\S+)\s+"
    r"(?:(?P<zone>[A-Za-z][A-Za-z0-9_+/-]*)\s+)?(?P<task>\{.*\})\s*"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: when (`cron`, read in `zone`) to enqueue what (`task`, a JSON object)."""

    name: str
    cron: str
    zone: ZoneInfo
    task: dict[str, Any]

    def next_after(self, at: float) -> float | None:
        """The first time after `at`, both in Unix seconds; None when there is none in 50 years."""
        return next(self.times(at), None)

    def times(self, after: float, until: float = math.inf) -> Iterator[float]:
        """Its times after `after` and before `until`, in Unix seconds."""
        start = datetime.fromtimestamp(math.floor(after), UTC).astimezone(self.zone)
        for found in CronSim(self.cron, start):
            at = float(found.timestamp())
            if at >= until:
                return
            if at > after:
                yield at

    def item(self, due: float) -> bytes:
        """The list item for the time `due`: a task with an id and enqueued_at of that time."""
        stamp = datetime.fromtimestamp(due, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        own = {"id": f"{self.name}@{stamp}", "enqueued_at": due}
        return json.dumps({**own, **self.task}, ensure_ascii=False).encode()


def parse_line(text: str) -> Entry:
    """The entry of one line.

    Raises:
        ValueError: it is none; the message says what would be right.
    """
    found = _LINE.fullmatch(text.strip())
    if not found:
        raise ValueError(
            'must be NAME MINUTE HOUR DAY MONTH WEEKDAY [TIMEZONE] {"type": ...}, '
            'such as nightly 0 3 * * * Europe/Berlin {"type": "report"}'
        )
    try:
        zone = ZoneInfo(found["zone"] or "UTC")
    except Exception:
        raise ValueError(f"has an unknown time zone, {found['zone']}") from None
    try:
        CronSim(found["cron"], datetime(2026, 1, 1, tzinfo=zone))
    except CronSimError as error:
        raise ValueError(f"has no cron fields: {error} in {found['cron']!r}") from None
    try:
        decode(found["task"].encode())
    except Invalid as error:
        raise ValueError(f"holds no task ({error.reason}): {found['task'][:60]}") from None
    return Entry(found["name"], found["cron"], zone, json.loads(found["task"]))
