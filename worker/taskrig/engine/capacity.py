"""How many tasks this worker can take now: the one place that answers it.

It counts what runs, what has outlived its timeout in a thread, what a claim that is under way may
still bring, and what `max_tasks` leaves; tasks that gather in batches use no slots. Numbers of tags
live here too: a number is used once, so that after a lost reply the worker can ask for exactly the
tags that call could have created.
"""

from __future__ import annotations

import asyncio
import math

from taskrig.broker import Exchanged
from taskrig.engine.execution import Execution
from taskrig.engine.inbox import Inbox

WORTH_AN_EXCHANGE = 50  # with this many tasks its fixed cost is a tenth of theirs (measured)


class Claims:
    """Numbers of claims: which are open, which are set aside, which had their reply lost."""

    def __init__(self) -> None:
        self.open_want = 0  # what the exchange under way may bring
        self.reserved: int | None = None  # of the tag that a blocking pop's claim may create
        self.lost: list[tuple[int, int]] = []  # (first, count) of claims whose reply was lost
        self.unread: list[tuple[int, bytes]] = []  # (size, start) of items skipped by such claims
        self._next = 1
        self._open_from = 1  # the first number that the latest exchange could have used

    def begin(self, want: int) -> int:
        """An exchange for `want` tasks begins; returns the number of the first."""
        first = self._open_from = self._next
        self._next += want
        self.open_want = want
        return first

    def brought(self, first: int, want: int, count: int) -> None:
        """Its reply brought `count` tasks: the numbers after them are free again, unless others
        were given out since."""
        if self._next == first + want:
            self._next = first + count

    def reserve(self) -> int:
        """Set a slot aside for a claim that rides on a blocking move; the number of its tag."""
        self.reserved = self._next
        self._next += 1
        return self.reserved

    def skipped(self, too_large: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """Items (size, start) that were dead-lettered unread, each once: those of a reply, and
        those of claims whose replies were lost."""
        if not self.unread:
            return too_large
        sizes = [size for size, _ in too_large]
        unread, self.unread = self.unread, []
        return [*too_large, *(one for one in unread if one[0] not in sizes)]

    @property
    def below(self) -> int:
        """The number below which no claim is open or unknown."""
        reserved = [] if self.reserved is None else [self.reserved]
        return min([self._open_from, *(first for first, _ in self.lost), *reserved])


class Capacity:
    """Who uses this worker's slots. `limit` and `max_tasks` as in the config."""

    def __init__(self, limit: int, max_tasks: int | None, most_per_claim: int) -> None:
        self.limit = limit
        self.max_tasks = max_tasks
        self.claims = Claims()
        self.running: dict[str, Execution] = {}  # by tag
        self.batched: dict[str, Execution] = {}  # in batches, by tag; they use no slots
        self.ahead = 0  # to be claimed beside free slots; below 0: tasks that keep slots
        self.overdue: set[Execution] = set()  # plain functions that outlived their timeout
        self.alone: Execution | None = None  # runs with nothing beside it
        self.making_room = False  # an entry on its last delivery waits for this worker to be idle
        self.claiming = True
        self.counted = 0  # tasks that max_tasks counts
        # Half of many slots: while one half runs, Redis settles and claims the other. Of few slots
        # all, for then an exchange costs more than it would save.
        half = (limit + 1) // 2 if limit >= 2 * WORTH_AN_EXCHANGE else limit
        self._share = min(half, most_per_claim)

    def free(self, *, looking: bool = False) -> int:
        """How many tasks to ask for now.

        While this worker makes room for a task that must run alone, nothing; but one when
        `looking`, to see whether that task is still there.
        """
        if not self.claiming or self.alone is not None:
            return 0
        claims, running = self.claims, len(self.running)
        in_hand = running + len(self.batched)
        on_the_way = claims.open_want + (claims.reserved is not None)
        free = self.limit - running - len(self.overdue) + self.ahead
        if self.max_tasks is not None:
            free = min(free, self.max_tasks - self.counted - in_hand)
        free -= on_the_way
        if self.making_room and (in_hand or claims.reserved is not None):
            return 1 if looking and free > 0 else 0
        return max(0, min(free, max(self._share, self.ahead)))

    @property
    def used_up(self) -> bool:
        """Whether max_tasks is reached and nothing runs any more."""
        return self.counted == self.max_tasks and not self.running and not self.batched


class Outlook:
    """What the latest replies said of the queue: whether it is worth to ask it again."""

    def __init__(self, interval_s: float, inbox: Inbox) -> None:
        self.interval_s = interval_s
        self._inbox = inbox
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None  # the next due task
        self._due_at = 0.0
        self.idle = False  # the last claim got less than it asked for
        self.paused = False
        self.look_due = True  # exchange even if nothing seems to be there

    def seen(self, reply: Exchanged, want: int) -> None:
        """A claim of `want` tasks was answered."""
        self.idle = len(reply.deliveries) + len(reply.too_large) < want and not reply.more
        if self.idle and reply.due_ms >= 0:
            self._look_in(reply.due_ms / 1000)

    def look_again(self) -> None:
        """Exchange soon even if nothing seems to be there."""
        self.look_due = True
        self.idle = False
        self._inbox.wake()

    def _look_in(self, seconds: float) -> None:
        """Look again when a task gets due; a far one is found by the look of every interval."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due_at = self._loop.time() + seconds
        if seconds <= self.interval_s:
            self._timer = self._loop.call_later(seconds, self.look_again)

    def due_in_s(self) -> float:
        """Seconds until the next delayed task, as far as it is known."""
        left_s = self._due_at - self._loop.time()
        return left_s if left_s > 0 else math.inf

    def may_wait(self, not_before: float) -> bool:
        """Whether nothing is there to be claimed; `not_before` by the loop's clock."""
        return self.idle and not self.paused and self._loop.time() >= not_before

    def rest(self, pause_s: float) -> float:
        """A blocking move failed: look without one, and have a turn when the next may be tried.

        Returns that moment by the loop's clock.
        """
        self.look_again()
        self._loop.call_later(pause_s, self._inbox.wake)
        return self._loop.time() + pause_s
