"""Gives back what was set aside or held, where nothing keeps it any more; ends overdue groups."""

from __future__ import annotations

import asyncio
import logging

from taskrig.broker import Broker, Depths
from taskrig.engine.inbox import Inbox, Look
from taskrig.engine.policies import Policies

log = logging.getLogger("taskrig")


class Returner:
    """Sees to the held lists of types that are not paused now, and have no limit here."""

    def __init__(
        self, broker: Broker, policies: Policies, inbox: Inbox, ended: asyncio.Event
    ) -> None:
        """`ended` breaks off what takes long."""
        self._broker = broker
        self._policies = policies
        self._inbox = inbox
        self._ended = ended

    async def give_back(self, seen: Depths) -> None:
        """Give back what the look found; raises BrokerUnavailable.

        `worker resume` does so itself for a paused type; here is what it broke off, and what a
        worker that had not yet seen the end of the pause set aside after it.
        """
        if seen.groups_over:
            ended = await self._broker.run(self._broker.commands.end_groups())
            names = ", ".join(ascii(name.decode(errors="replace"))[:60] for name in ended[:5])
            if ended:
                log.warning("%d groups did not end in time: %s", len(ended), names)
        free = [name for name in seen.held_by_type if self._policies.lets_go(name)]
        if free:
            limited = await self._broker.limited_names()
            free = [name for name in free if name not in limited]
        for name in (*seen.left_over, *free):
            left = 1
            while left and not self._ended.is_set():
                _, left = await self._broker.run(self._broker.commands.bring_back(name))
            self._inbox.order(Look())
