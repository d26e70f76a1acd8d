"""The only speaker of Redis in the worker; loads worker/lua. docs/protocol.md describes it."""

from worker.broker.address import Address
from worker.broker.amend import Amender
from worker.broker.dead_letters import DeadLetter, DeadLetters
from worker.broker.lease import LeaseWire
from worker.broker.move import Arrival, Move
from worker.broker.operate import Operator
from worker.broker.produce import Producer
from worker.broker.queue import (
    CLAIM_ITEMS,
    Broker,
    Depths,
    Exchanged,
    Slice,
)
from worker.broker.results import Results
from worker.broker.start import check_start
from worker.broker.stride import Stride
from worker.broker.survey import PausedType, Rates, Survey
from worker.broker.waiting import waiting_items

__all__ = [
    "CLAIM_ITEMS",
    "Address",
    "Amender",
    "Arrival",
    "Broker",
    "DeadLetter",
    "DeadLetters",
    "Depths",
    "Exchanged",
    "LeaseWire",
    "Move",
    "Operator",
    "PausedType",
    "Producer",
    "Rates",
    "Results",
    "Slice",
    "Stride",
    "Survey",
    "check_start",
    "waiting_items",
]
