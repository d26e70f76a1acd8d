"""A broker without Redis, for tests of the run loop's own decisions: a list, and what went over it.

What Redis does with a call is not its business: those questions go to a real server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from taskrig.broker import Arrival, Exchanged
from taskrig.errors import BrokerUnavailable
from taskrig.task import Delivery, Settlement


class FakeMove:
    """A blocking move that ends when the test says what arrived, or when it is cut."""

    def __init__(self) -> None:
        self.sent = False
        self.why = ""  # what the exchange behind it says when it is asked to end
        self.holds: list[tuple[int, int]] = []  # (want, first) of each move that was begun
        self.passed_on = 0
        self._answer: asyncio.Future[Arrival] | None = None

    async def wait(self, want: int, first: int, within_s: float) -> Arrival:
        """Hold it."""
        self.holds.append((want, first))
        self._answer = asyncio.get_running_loop().create_future()
        return await self._answer

    @property
    def pending(self) -> bool:
        """Whether one is held now."""
        return self._answer is not None and not self._answer.done()

    def answer(self, arrival: Arrival) -> None:
        """Something arrived."""
        assert self._answer is not None
        self._answer.set_result(arrival)

    def cut(self) -> None:
        """The connection is dropped."""
        if self.pending and self._answer is not None:
            self.sent = True
            self._answer.set_exception(BrokerUnavailable("cut"))

    async def ask_to_end(self) -> None:
        """The server answers at once that nothing came."""
        if self.pending:
            self.answer(Arrival(False, reply(why=self.why)))

    async def pass_on(self) -> int:
        """Count it."""
        self.passed_on += 1
        return 0


def reply(*deliveries: Delivery, **more: Any) -> Exchanged:
    """The answer to an exchange that brought these."""
    fields: dict[str, Any] = {
        "why": "",
        "gap": False,
        "more": False,
        "missing": [],
        "too_large": [],
        "cancel": [],
        "due_ms": -1,
        "now_ms": 1_000_000,
    }
    return Exchanged(deliveries=list(deliveries), **{**fields, **more})


class FakeExchange:
    """What the run loop calls for a turn with Redis; see FakeBroker."""

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker
        self.sent = True

    async def __call__(
        self,
        settled: Sequence[Settlement | str],
        want: int,
        first: int,
        in_hand: int,
        one_by_one: bool,
    ) -> Exchanged:
        """Take what is told, give what is there."""
        broker = self._broker
        await asyncio.sleep(0)
        broker.asked.append(want)
        broker.one_by_one.append(one_by_one)
        given = broker.next.pop(0) if broker.next else None
        if isinstance(given, BaseException):
            raise given
        broker.settled += settled
        if given is not None or broker.why:
            return given or reply(why=broker.why)
        taken, broker.waiting = broker.waiting[:want], broker.waiting[want:]
        return reply(*(Delivery(f"w:{first + i}", raw) for i, raw in enumerate(taken)))


class FakeBroker:
    """`waiting` holds the items; `asked` what each exchange wanted, `settled` what it told.

    `next`: replies, or errors to raise, for the next exchanges, before the default answer.
    `in_flight`: by number, what a claim whose reply was lost had brought.
    """

    def __init__(self) -> None:
        self.move = FakeMove()
        self.moves = (self.move,)
        self.waiting: list[bytes] = []
        self.asked: list[int] = []
        self.settled: list[Settlement | str] = []
        self.one_by_one: list[bool] = []
        self.found: list[tuple[int, int]] = []
        self.in_flight: dict[int, bytes] = {}
        self.next: list[Exchanged | BaseException] = []
        self.why = ""  # why nothing is claimed, until the test says otherwise
        self.exchange = FakeExchange(self)
        self.abandoned = ""  # why nobody waits for it any more

    def push(self, *items: bytes) -> None:
        """Add items; the first of them ends a move that waits, and its claim takes it."""
        self.waiting += items
        if self.move.pending and self.waiting and self.move.holds[-1][0]:
            number = self.move.holds[-1][1]
            self.move.answer(Arrival(True, reply(Delivery(f"w:{number}", self.waiting.pop(0)))))

    async def find(self, first: int, count: int) -> list[Delivery]:
        """Which of these numbers are in flight."""
        self.found.append((first, count))
        numbers = range(first, first + count)
        return [Delivery(f"w:{n}", self.in_flight[n]) for n in numbers if n in self.in_flight]

    async def with_wrong_key(self, error: BrokerUnavailable) -> BrokerUnavailable:
        """No key is named."""
        return error

    def abandon(self, why: str) -> None:
        """Note it."""
        self.abandoned = why
