"""Groups of tasks: read as their producer wrote them, adopted by the first worker that sees one.

Redis then counts the members as they are settled, and pushes what follows the group. It knows
nothing of JSON: what it pushes is spelled here, up to the numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import msgspec

from taskrig.broker import Broker, GroupPlan
from taskrig.errors import BrokerUnavailable
from taskrig.metrics import Metrics
from taskrig.runtime.once import Once
from taskrig.task import Invalid, follow_ups, parse_strictly, strict_json

log = logging.getLogger("taskrig")

MOST_MEMBERS = 1_000_000
MOST_KNOWN = 10_000
MOST_BYTES = 2**20  # of what a producer writes


class Groups:
    """Which groups were adopted, as far as this worker knows. `queue`, `lists`: as in Policies.

    `seen`: of which members were claimed since. They are adopted before those end, or a group
    whose members hang would expire unnoticed.
    """

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._known: dict[str, None] = {}
        self._said = Once()

    async def adopt(
        self, names: Iterable[str], broker: Broker, queue: str, lists: frozenset[str]
    ) -> None:
        """Adopt those that are not known yet; raises BrokerUnavailable."""
        commands = broker.commands
        for name in set(names) - self._known.keys():
            try:
                raw = await broker.run(commands.group(name))
                if raw is None:
                    continue  # the settlement says whether it had been adopted before
                await broker.run(commands.adopt(name, plan_of(raw, name, queue, lists)))
            except ValueError as fault:
                self._say(name, str(fault))
                continue
            except BrokerUnavailable as error:
                if error.kind not in ("wrong_type", "permission", "script"):
                    raise
                self._say(name, str(error))
                continue
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[name] = None

    def missing(self, names: Iterable[bytes], metrics: Metrics) -> None:
        """Members of these ended, and were not counted."""
        for raw in names:
            name = raw.decode(errors="backslashreplace")
            metrics.group_members_missing += 1
            self._known.pop(name, None)
            self._say(name, "its key is gone, was never written, or has fewer members")

    def _say(self, name: str, why: str) -> None:
        if self._said.says(name) is not None:
            shown = ascii(name[:60])
            log.warning("tasks are members of group %s, which is not there: %s", shown, why)


def plan_of(raw: bytes, name: str, queue: str, lists: frozenset[str]) -> GroupPlan:
    """A group as its producer wrote it; raises ValueError, with why it cannot be one."""
    if len(raw) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES} bytes")
    try:
        fields = parse_strictly(raw)
        if type(fields) is not dict:
            raise ValueError("it is not an object")
        then, otherwise = follow_ups(fields.get("then")), follow_ups(fields.get("otherwise"))
    except Invalid as fault:
        raise ValueError(fault.reason) from None
    of = fields.get("of")
    if type(of) is not int or not 1 <= of <= MOST_MEMBERS:
        raise ValueError(f"`of` must be a whole number from 1 to {MOST_MEMBERS}")
    unknown = {one["list"] for one in (*then, *otherwise) if "list" in one} - lists
    if unknown:
        raise ValueError("a list that it names is not one of queue.lists")
    parent = b',"parent":{"group":' + msgspec.json.encode(name)

    def spelled(fields: dict[str, object]) -> tuple[str, bytes]:
        return str(fields.get("list") or queue), strict_json(fields)[:-1] + parent

    try:
        return GroupPlan(of, tuple(map(spelled, then)), tuple(map(spelled, otherwise)))
    except ValueError:
        raise ValueError("its tasks are nested too deep") from None
