"""The end of a worker whose Redis does not answer: nobody waits for it for long."""

from __future__ import annotations

import asyncio
import time

from taskrig.broker import Broker
from taskrig.engine.consumer import Consumer, State
from taskrig.engine.runner import STUBBORN_S

SILENT_S = 2 * STUBBORN_S  # how long Redis may be silent when nothing else keeps the worker


class Farewell:
    """Looks from its making until `stop`: once nothing is in hand any more, or all was given back,
    it cuts the connections of a Redis that is silent."""

    def __init__(self, consumer: Consumer, broker: Broker) -> None:
        self._consumer = consumer
        self._broker = broker
        self._loop = asyncio.get_running_loop()
        self._since = time.monotonic()  # nothing but Redis keeps the worker
        self._next = self._loop.call_later(SILENT_S / 10, self._look)

    def _look(self) -> None:
        now, consumer = time.monotonic(), self._consumer
        capacity = consumer.capacity
        in_hand = capacity.running or capacity.batched or consumer.inbox.ended
        if capacity.claiming or (in_hand and consumer.state is not State.RELEASING):
            self._since = now
        if now - max(self._since, consumer.outage.answered_at) < SILENT_S:
            self._next = self._loop.call_later(SILENT_S / 10, self._look)
            return
        self._broker.abandon(f"no answer within {SILENT_S:g} s, and the worker ends")
        consumer.outage.hurry()
        consumer.inbox.wake()

    def stop(self) -> None:
        """Look no more."""
        self._next.cancel()
