"""Enqueue tasks from Django, when the transaction that they belong to has committed."""

from __future__ import annotations

import functools
import json
import os
import time
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

from taskrig.task import Invalid, decode


def enqueue(
    type: str,  # noqa: A002 - public
    data: Any = None,
    *,
    using: str | None = None,
    **keys: Any,
) -> None:
    """Push one task to the queue of settings.TASKRIG once the transaction commits.

    Outside of a transaction it is pushed at once; in one that is rolled back, never.

    Args:
        type: the task's type.
        data: what the handler gets; Django's JSON encoder knows dates, decimals and UUIDs.
        using: the database whose transaction counts; None is the default one.
        keys: more keys of the task, such as id="order-7". `enqueued_at` is set for you.

    Raises:
        ValueError: it would not be a valid task (at once, not at the commit).
        BrokerUnavailable: Redis is out of reach, at the commit; the transaction stands.
    """
    task = {"type": type, "data": {} if data is None else data, "enqueued_at": time.time(), **keys}
    try:
        item = json.dumps(task, cls=DjangoJSONEncoder, allow_nan=False).encode()
        decode(item)
    except Invalid as fault:
        raise ValueError(f"this would not be a task: {fault.reason}") from None
    except TypeError as fault:
        raise ValueError(f"this would not be a task: {fault}") from None
    transaction.on_commit(functools.partial(_push, item), using=using)


def _push(item: bytes) -> None:
    producer_of(os.getpid()).push([item])


@functools.cache
def producer_of(pid: int) -> Any:
    """This process's producer: a connection must not be shared with the parent of a fork."""
    from taskrig.broker import Producer
    from taskrig.contrib.django.configured import config_of_settings

    return Producer(config_of_settings())
