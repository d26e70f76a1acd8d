"""How a duty is repeated: every so often while Redis answers, until it is asked to end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from taskrig.engine.outage import Outage
from taskrig.errors import BrokerUnavailable
from taskrig.metrics import Metrics


async def repeat(
    duty: Callable[[], Awaitable[None]],
    every_s: float,
    ended: asyncio.Event,
    outage: Outage,
    metrics: Metrics,
) -> None:
    """Run `duty` every `every_s` seconds until `ended` is set.

    Redis being away is the consumer's to log; here a failed call is only counted.
    """
    while not ended.is_set():
        if outage.since is None:
            try:
                await duty()
            except BrokerUnavailable as error:
                metrics.count_error(error.kind)
        try:
            async with asyncio.timeout(every_s):
                await ended.wait()
        except TimeoutError:
            pass
