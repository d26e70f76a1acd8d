"""The consumer's inbox: what happened elsewhere. Everybody puts into it, only the consumer takes.

It is written from the event loop's thread alone; other threads go through
`loop.call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from taskrig.broker import Arrival
from taskrig.engine.execution import Execution
from taskrig.errors import BrokerUnavailable


@dataclass(slots=True)
class Popped:
    """A blocking move has ended. `number`: of the tag that the claim behind it may have created;
    `error`: it failed, or the server refused a part of it; `sent`: it had left this host."""

    index: int  # of the list it waits for
    number: int | None = None
    arrival: Arrival | None = None
    error: BrokerUnavailable | None = None
    sent: bool = False


@dataclass(frozen=True, slots=True)
class Drain:
    """Claim nothing more; after `timeout_s` seconds give back what still runs."""

    timeout_s: float


@dataclass(frozen=True, slots=True)
class Release:
    """Give back now what runs."""


@dataclass(frozen=True, slots=True)
class Look:
    """Exchange soon even if nothing seems to be there."""


@dataclass(frozen=True, slots=True)
class Fail:
    """A part of the worker's own broke: end with it."""

    fault: BaseException


Order = Drain | Release | Look | Fail


class Inbox:
    """`ended` and `popped` are taken at the consumer's next turn, orders at once."""

    def __init__(self) -> None:
        self.ended: list[Execution] = []  # have a disposition, wait for the next exchange
        self.begun: list[Execution] = []  # tracked tasks that run now, as Redis is to be told
        self.popped: list[Popped] = []  # blocking moves that have ended
        self.orders: list[Order] = []
        self.woken = asyncio.Event()  # there is something to do for a turn
        self.ordered = asyncio.Event()
        self.wake = self.woken.set

    def order(self, order: Order) -> None:
        """Have an order obeyed in the event loop's next turn."""
        self.orders.append(order)
        self.ordered.set()
