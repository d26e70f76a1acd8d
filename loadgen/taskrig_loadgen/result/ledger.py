"""The book of one run: what was sent, and what became of each task. Pure, in flat arrays.

A task is a number counted from 0 in the order sent. All times are Unix seconds on the Redis
server's clock. A million tasks cost about 60 MB, and a completion record under 2 us to book.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence

OUTCOMES = ("open", "succeeded", "failed", "dead", "refused")
OPEN, SUCCEEDED, FAILED, DEAD, REFUSED = range(5)  # refused: by Redis at the push, never a task
_FINAL = {b"succeeded": SUCCEEDED, b"failed": FAILED, b"dead": DEAD}
_NAN = math.nan


class Ledger:
    """Books every task sent and every completion record; finds duplicates and what is open."""

    def __init__(self, types: Sequence[str]) -> None:
        self.types = tuple(types)
        self.kind = array("H")  # number into `types`
        self.intended = array("d")
        self.sent = array("d")  # written to the socket
        self.acked = array("d")  # Redis said yes; nan: it never said so
        self.start = array("d")  # of the execution that counts; nan: none yet
        self.end = array("d")
        self.settled = array("d")
        self.outcome = bytearray()
        self.executions = bytearray()  # ended executions, interrupted ones not counted
        self.done = 0  # tasks with a final outcome
        self.duplicates = 0  # executions that ended beyond each task's first
        self.lost_claims = 0  # executions whose worker had lost the claim meanwhile
        self.interrupted = 0  # released at a shutdown, to run again
        self.retried = 0
        self.foreign = 0  # records that are none of ours
        self.by_outcome = [0] * len(OUTCOMES)
        self.fresh: list[int] = []  # finished since someone last looked (the live view)
        self._unsettled: dict[int, tuple[int, float, float, float]] = {}

    def __len__(self) -> int:
        return len(self.kind)

    def add(self, kinds: Iterable[int], intended: Iterable[float], sent: float) -> range:
        """Book tasks about to be sent at `sent`; returns their numbers."""
        first = len(self.kind)
        self.kind.extend(kinds)
        self.intended.extend(intended)
        count = len(self.kind) - first
        blank = array("d", (_NAN,)) * count
        self.sent.extend(array("d", (sent,)) * count)
        for column in (self.acked, self.start, self.end, self.settled):
            column.extend(blank)
        self.outcome.extend(bytes(count))
        self.executions.extend(bytes(count))
        return range(first, first + count)

    def confirm(self, numbers: range, acked: float) -> None:
        """Redis has taken these at `acked`."""
        self.acked[numbers.start : numbers.stop] = array("d", (acked,)) * len(numbers)

    def refuse(self, numbers: range) -> None:
        """Redis has refused these at the push: they were never tasks."""
        self.outcome[numbers.start : numbers.stop] = bytes((REFUSED,)) * len(numbers)
        self.by_outcome[REFUSED] += len(numbers)

    def record(self, raw: bytes) -> None:
        """Book one completion record: index outcome start end worker deliveries lost settled."""
        try:
            index, outcome, start, end, _, _, lost, settled = raw.split(b" ")
            number = int(index)
            times = float(start), float(end), float(settled)
        except ValueError:
            self.foreign += 1
            return
        if not 0 <= number < len(self.kind):
            self.foreign += 1
            return
        final = _FINAL.get(outcome)
        if final is None:
            self.interrupted += outcome == b"released"
            self.retried += outcome == b"retried"
            return
        if self.executions[number]:
            self.duplicates += 1
        self.executions[number] = min(self.executions[number] + 1, 255)
        if lost == b"1":
            self.lost_claims += 1
            self._unsettled.setdefault(number, (final, *times))
        elif not self.outcome[number]:
            self.finish(number, final, *times)

    def finish(self, number: int, outcome: int, start: float, end: float, settled: float) -> None:
        """Give a task its final outcome; nan for times that nobody knows."""
        self.start[number] = start
        self.end[number] = end
        self.settled[number] = settled
        self.outcome[number] = outcome
        self.done += 1
        self.by_outcome[outcome] += 1
        self.fresh.append(number)

    def accept_lost_claims(self) -> int:
        """Finish open tasks by what a worker without the claim reported; returns how many.

        For the end of a run, when such a task is found nowhere else.
        """
        taken = 0
        for number, (outcome, *times) in self._unsettled.items():
            if not self.outcome[number]:
                self.finish(number, outcome, *times)
                taken += 1
        self._unsettled.clear()
        return taken

    @property
    def sent_count(self) -> int:
        """Tasks pushed and not refused."""
        return len(self.kind) - self.by_outcome[REFUSED]

    @property
    def all_done(self) -> bool:
        """Whether every task sent has its final outcome."""
        return self.done >= self.sent_count

    def open_numbers(self) -> list[int]:
        """Tasks without a final outcome."""
        return [number for number, outcome in enumerate(self.outcome) if not outcome]

    @property
    def unconfirmed(self) -> int:
        """Tasks whose push got no answer: they may or may not have reached the queue."""
        nameless = sum(1 for value in self.acked if value != value)
        return nameless - self.by_outcome[REFUSED]
