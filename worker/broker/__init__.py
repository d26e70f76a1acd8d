"""The only speaker of Redis in the worker; loads worker/lua. docs/protocol.md describes it."""

from worker.broker.address import Address
from worker.broker.lease import LeaseWire
from worker.broker.queue import CLAIM_ITEMS, SLICE_BYTES, Broker, Depths, Exchanged, Slice
from worker.broker.start import check_start

__all__ = [
    "CLAIM_ITEMS",
    "SLICE_BYTES",
    "Address",
    "Broker",
    "Depths",
    "Exchanged",
    "LeaseWire",
    "Slice",
    "check_start",
]
