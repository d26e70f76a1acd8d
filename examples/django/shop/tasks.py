"""The shop's handlers: coroutines with Django's async ORM, or plain functions in a thread."""

from typing import Any

from django.db import connection

from shop.models import Order
from taskrig import Reject, handler


@handler("make_receipt", timeout_s=30)
async def make_receipt(data: dict[str, Any]) -> None:
    """Write an order's receipt. Safe to run twice: the second run writes the same."""
    order = await Order.objects.filter(number=data["number"]).afirst()
    if order is None:
        raise Reject(f"there is no order {data['number']}")
    order.receipt = f"Receipt for {order.number}"
    await order.asave(update_fields=["receipt"])


@handler("count_orders")
def count_orders(data: dict[str, Any]) -> None:
    """A plain function: it runs in a thread of its own."""
    Order.objects.update_or_create(
        number="count", defaults={"receipt": str(Order.objects.exclude(number="count").count())}
    )


@handler("break_connection")
async def break_connection(data: dict[str, Any]) -> None:
    """Break the database connection, as a restarted database does; for the tests."""
    from asgiref.sync import sync_to_async

    def break_it() -> None:
        connection.ensure_connection()
        connection.connection.close()
        Order.objects.count()

    await sync_to_async(break_it)()
