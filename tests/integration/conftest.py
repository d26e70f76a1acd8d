"""A queue in a test's hand."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
import redis

from tests.support.brokers import Queue


@pytest_asyncio.fixture
async def queue(redis_url: str, redis_client: redis.Redis) -> AsyncIterator[Queue]:
    """An empty queue on the session's Redis."""
    one = Queue(redis_url, redis_client)
    yield one
    await one.close()
