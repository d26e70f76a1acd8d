"""What operators ask of a queue and order: used by commands, the status page and loadgen."""

from taskrig.admin.dead_letters import DeadLetters
from taskrig.admin.inspector import Inspector
from taskrig.admin.waiting import waiting_items

__all__ = ["DeadLetters", "Inspector", "waiting_items"]
