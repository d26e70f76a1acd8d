"""A queue in a test's hand, and mail servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
import redis
from aiosmtpd.controller import Controller

from tests.support.brokers import Queue
from tests.support.mailbox import Mailbox, Strange
from tests.support.servers import free_port


@pytest_asyncio.fixture
async def queue(redis_url: str, redis_client: redis.Redis) -> AsyncIterator[Queue]:
    """An empty queue on the session's Redis."""
    one = Queue(redis_url, redis_client)
    yield one
    await one.close()


@pytest.fixture
def mailbox() -> Mailbox:
    """Where mails arrive."""
    return Mailbox()


@pytest.fixture
def smtp(mailbox: Mailbox) -> Iterator[Callable[..., int]]:
    """Start its server: `smtp()` plain, `smtp(tls_context=...)` with STARTTLS and a login."""
    started = []

    def start(**options: Any) -> int:
        server = Controller(
            mailbox,
            hostname="127.0.0.1",
            port=free_port(),
            authenticator=mailbox.authenticate,
            **options,
        )
        server.start()
        started.append(server)
        return int(server.port)

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def strange() -> Iterator[Callable[..., Strange]]:
    """Start a server that answers slowly or hangs up."""
    started = []

    def start(**options: Any) -> Strange:
        started.append(Strange(**options))
        return started[-1]

    yield start
    for server in started:
        server.close()
