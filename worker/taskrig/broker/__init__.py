"""The only speaker of Redis in the worker. docs/protocol.md describes it."""

from taskrig.broker.address import Address
from taskrig.broker.amend import Amender
from taskrig.broker.dead_letters import DeadLetter, DeadLetters
from taskrig.broker.lease import LeaseWire
from taskrig.broker.move import Arrival, Move
from taskrig.broker.operate import Operator
from taskrig.broker.produce import Producer
from taskrig.broker.queue import CLAIM_ITEMS, Broker, Depths, Exchanged, Slice
from taskrig.broker.results import Results
from taskrig.broker.start import check_start
from taskrig.broker.stride import Stride
from taskrig.broker.survey import PausedType, Rates, Survey
from taskrig.broker.waiting import waiting_items

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
