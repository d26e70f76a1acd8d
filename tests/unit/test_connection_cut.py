"""A connection that is cut while it is being made."""

from __future__ import annotations

import asyncio

import pytest

from taskrig.broker.connection import Connection
from taskrig.errors import BrokerUnavailable


class NeverThere:
    """An address at which nothing answers."""

    async def connect(self, begun, *, identify):
        await asyncio.sleep(60)

    def explain(self, fault):
        return BrokerUnavailable(str(fault))


async def test_a_connection_that_is_cut_twice_while_it_is_made_says_why_it_was_given_up():
    connection = Connection(NeverThere(), 10)
    connecting = asyncio.create_task(connection.connect())
    await asyncio.sleep(0)

    async def cut_once_more():
        connection.abandon("the worker ends")

    connection.cut()
    again = asyncio.create_task(cut_once_more())
    with pytest.raises(BrokerUnavailable, match="the worker ends"):
        await connecting
    await again
    await connection.close()
