"""Redis is away: since when, how long to wait before the next attempt, when to give up."""

from __future__ import annotations

import asyncio
import random
import time

from taskrig.engine.events import Events
from taskrig.errors import BrokerBroken, BrokerRefused, BrokerUnavailable, UsageError

BROKEN_S = 20.0  # how long a refusal that waiting does not mend is borne
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0


class Outage:
    """One outage after another. `since` is None while Redis answers.

    `resend`: a reply was lost, so the settlements of that call are sent once more.
    `suspicious_until`: a command that was lost on the way may still land until then.
    """

    def __init__(self, max_s: float, lease_s: float, events: Events) -> None:
        self._max_s = max_s
        self._lease_s = lease_s
        self._events = events
        self._pause_s = FIRST_PAUSE_S
        self._hurry = asyncio.Event()
        self._give_up_at: float | None = None
        self.since: float | None = None
        self.answered_at = time.monotonic()  # the latest exchange
        self.resend = False
        self.suspicious_until = 0.0

    def began(self, error: BrokerUnavailable, held: int) -> None:
        """A call failed, with `held` tasks in the worker's hands.

        Raises:
            BrokerUnavailable: it has lasted for longer than allowed, or nobody waits any more.
            UsageError: a key of ours has another type, and nobody mended it.
        """
        now = time.monotonic()
        self.resend = True
        self._events.metrics.count_error(error.kind)
        if self.since is None:
            self.since, self._pause_s = now, FIRST_PAUSE_S
            self._events.redis_away(str(error))
        for_good = isinstance(error, (BrokerRefused, BrokerBroken))
        limit_s = min(self._max_s, BROKEN_S) if for_good else self._max_s
        if self._give_up_at is not None and now >= self._give_up_at:
            limit_s = 0.0
        away_s = now - self.since
        if away_s < limit_s:
            return
        text = f"{error}; away for {away_s:.1f} s, {held} tasks stay in flight, to be reclaimed"
        if isinstance(error, BrokerBroken):
            raise UsageError(text) from error
        raise BrokerUnavailable(text) from error

    def over(self) -> None:
        """An exchange went through."""
        if self.since is not None:
            self._events.redis_back(time.monotonic() - self.since)
            self.since = None
            self.suspect()

    def suspect(self) -> None:
        """A call was lost: look at this worker's own tags for a while."""
        self.suspicious_until = time.monotonic() + 2 * self._lease_s

    async def pause(self) -> None:
        """Wait a little longer each time, up to a second; not at all when in a hurry."""
        wait_s = self._pause_s * random.uniform(0.8, 1.2)
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        try:
            async with asyncio.timeout(wait_s):
                await self._hurry.wait()
        except TimeoutError:
            pass
        self._hurry.clear()

    def hurry(self) -> None:
        """End a pause: something has changed."""
        self._hurry.set()

    def give_up_in(self, seconds: float) -> None:
        """Nobody waits for the results any longer than this; the first such word counts."""
        if self._give_up_at is None:
            self._give_up_at = time.monotonic() + seconds
        self._hurry.set()
