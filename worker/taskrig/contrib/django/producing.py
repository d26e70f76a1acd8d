"""Enqueue tasks from Django, when the transaction that they belong to has committed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

if TYPE_CHECKING:
    from taskrig.client import Queue


def enqueue(
    type: str,  # noqa: A002 - public
    data: Any = None,
    *,
    using: str | None = None,
    list: str | None = None,  # noqa: A002 - public
    **keys: Any,
) -> str:
    """Push one task to the queue of settings.TASKRIG once the transaction commits; returns its id.

    Outside of a transaction it is pushed at once; in one that is rolled back, never.

    Args:
        type: the task's type.
        data: what the handler gets; Django's JSON encoder knows dates, decimals and UUIDs.
        using: the database whose transaction counts; None is the default one.
        list: one of `queue.lists`; the queue's key by default.
        keys: `delay` and `run_at` as `taskrig.Queue` has them, and more keys of the task, such as
            id="order-7". `enqueued_at` is set for you.

    Raises:
        ValueError: it would not be a valid task (at once, not at the commit).
        PushFailed: Redis is out of reach, at the commit; the transaction stands.
    """
    made = queue().made(queue().task(type, data, **keys))
    transaction.on_commit(functools.partial(queue().push_made, [made], list), using=using)
    return made.id


@functools.cache
def queue() -> Queue:
    """The queue of settings.TASKRIG, for results, states and async views. Transactions do not
    matter to it: what it enqueues is pushed at once."""
    # Imported only when it is asked for: it takes a while, and every command imports this module.
    from taskrig.client import Queue
    from taskrig.contrib.django.configured import config_of_settings

    return Queue.of(config_of_settings(), default=DjangoJSONEncoder().default)
