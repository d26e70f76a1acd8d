"""The only speaker of Redis in the worker. docs/protocol.md describes it."""

from taskrig.broker.address import Address
from taskrig.broker.amend import Amender
from taskrig.broker.broker import Broker
from taskrig.broker.commands import Command
from taskrig.broker.connection import Connection
from taskrig.broker.dead_letter import DeadLetter
from taskrig.broker.exchange import Arrival, ExchangeCommands, Exchanged, Move
from taskrig.broker.lease import LeaseConnection
from taskrig.broker.places import Entry, Place
from taskrig.broker.produce import Producer
from taskrig.broker.queue_commands import CLAIM_BYTES, CLAIM_ITEMS, GroupPlan, QueueCommands
from taskrig.broker.replies import Depths, Orphans, Scheduled, Slice
from taskrig.broker.results import Results
from taskrig.broker.start import check_start
from taskrig.broker.stride import Stride
from taskrig.broker.survey import PausedType, Rates, Survey
from taskrig.broker.thread_connection import ThreadConnection

__all__ = [
    "CLAIM_BYTES",
    "CLAIM_ITEMS",
    "Address",
    "Amender",
    "Arrival",
    "Broker",
    "Command",
    "Connection",
    "DeadLetter",
    "Depths",
    "Entry",
    "ExchangeCommands",
    "Exchanged",
    "GroupPlan",
    "LeaseConnection",
    "Move",
    "Orphans",
    "PausedType",
    "Place",
    "Producer",
    "QueueCommands",
    "Rates",
    "Results",
    "Scheduled",
    "Slice",
    "Stride",
    "Survey",
    "ThreadConnection",
    "check_start",
]
