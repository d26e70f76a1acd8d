"""The blocking move of one list, with which a worker that has room waits for work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskrig.broker.scripts import EXCHANGE, PASS_ON
from taskrig.broker.stream import TooLarge
from taskrig.broker.wire import Wire
from taskrig.errors import BrokerUnavailable

if TYPE_CHECKING:
    from taskrig.broker.queue import Exchanged


@dataclass(slots=True)
class Arrival:
    """How a blocking move ended."""

    moved: bool  # something arrived
    exchanged: Exchanged | None = None  # of the exchange sent with it, where it was executed
    fault: BrokerUnavailable | None = None  # what the server refused
    unread: tuple[int, bytes] | None = None  # (size, start) of an item too large to be read: then
    # the connection was dropped, and the exchange's answer is lost with it


class Move:
    """The move of one list to where it lands, over a connection of its own."""

    def __init__(
        self,
        wire: Wire,
        ask: Callable[..., Awaitable[Any]],
        run: Callable[..., Awaitable[Any]],
        claim: Callable[[int, int], tuple[Any, ...]],
        read: Callable[[list[Any], int], Exchanged],
        *,
        source: str,
        arrivals: str,
        side: str,
        hold_s: float,
        most: int,
    ) -> None:
        """`ask` and `run` send a command, and a script, beside the move.

        `claim` gives the arguments of an exchange for so many tasks, numbered from so much, and
        `read` reads its reply. An item of more than `most` bytes is not read.
        """
        self.source = source
        self._wire = wire
        self._ask = ask
        self._run = run
        self._claim = claim
        self._read = read
        self._arrivals = arrivals
        self._side = side
        self._hold_s = hold_s
        self._most = most

    async def wait(self, want: int, first: int, within_s: float) -> Arrival:
        """Hold the move, for at most `within_s`; with a `want` from 1, claim in the same write:
        the server runs that exchange as soon as the move ends, one round trip earlier.

        Raises:
            BrokerUnavailable: also when `cut`. The exchange may or may not have been executed;
                see `sent`.
        """
        hold_s = max(0.001, min(self._hold_s, within_s))
        ends = (self._side.upper(), "LEFT")
        move = ("BLMOVE", self.source, self._arrivals, *ends, f"{hold_s:.3f}")
        try:
            if not want:
                moved = await self._wire.call(*move, extra_s=hold_s, most=self._most)
                return Arrival(moved is not None)
            claim = (b"EVALSHA", EXCHANGE.sha, *self._claim(want, first))
            moved, reply = await self._wire.call_both(move, claim, extra_s=hold_s, most=self._most)
        except TooLarge as item:
            return Arrival(True, unread=(item.size, item.start))
        arrival = Arrival(moved is not None and not isinstance(moved, Exception))
        if isinstance(reply, list):
            arrival.exchanged = self._read(reply, first)
        for answer in (moved, reply):
            if isinstance(answer, BrokerUnavailable):
                arrival.fault = answer
        return arrival

    @property
    def sent(self) -> bool:
        """Whether the last one left this host."""
        return self._wire.sent

    async def ask_to_end(self) -> None:
        """Ask the server to answer at once.

        Raises:
            BrokerUnavailable: it cannot be asked; then `cut` is what is left.
        """
        if self._wire.client_id is None:
            raise BrokerUnavailable("the blocking move's connection has no id")
        await self._ask("CLIENT", "UNBLOCK", self._wire.client_id)

    def cut(self) -> None:
        """End it at once; arrivals belong to nobody, so nothing is stranded there."""
        self._wire.cut()

    def abandon(self, why: str) -> None:
        """As `Wire.abandon`."""
        self._wire.abandon(why)

    async def pass_on(self) -> int:
        """Put arrivals back to the list's front, where another worker's move sees them."""
        return int(await self._run(PASS_ON, (self._arrivals, self.source), self._side, 100))

    async def close(self) -> None:
        """Close the connection; never raises."""
        await self._wire.close()
