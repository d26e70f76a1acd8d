"""The Redis data model: every key, its type, what it holds. Only this module spells a key.

`P` is the queue's key itself when it has a non-empty Cluster hash tag of its own, else the key
in braces. All our keys are `P:<name>`, so that they share the queue's slot in a Cluster.
Source of the hash-tag rule: Redis Cluster specification, "Hash tags".
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote

FORMAT_VERSION = 1  # of all this; a worker refuses a newer one and reads one older


def prefix(queue: str) -> str:
    """The prefix `P` of every key that belongs to `queue`.

    Raises:
        ValueError: the key is empty.
    """
    if not queue:
        raise ValueError("the queue's key must not be empty")
    start = queue.find("{")
    if start >= 0:
        end = queue.find("}", start + 1)
        if end > start + 1:
            return queue
    return "{" + queue + "}"


def same_slot(queue: str) -> bool:
    """Whether `queue` and our keys are sure to share a Cluster slot (a stray `}` breaks it)."""
    return prefix(queue) == queue or "}" not in queue


def shares_slot(source: str, queue: str) -> bool:
    """Whether another list of `queue` is sure to share its Cluster slot."""
    return source == queue or (prefix(source) == source and _tag(source) == _tag(prefix(queue)))


def _tag(key: str) -> str:
    return key.partition("{")[2].partition("}")[0]


def type_name(task_type: str) -> str:
    """A task type as it stands in keys and in fields: printable ASCII without a colon."""
    return quote(task_type, safe="-._~/@+")


def type_of(name: str) -> str:
    """The task type that `type_name` made this of."""
    return unquote(name)


def aside_name(task_type: str) -> str:
    """The name of a paused type's held list; no type's own name has a colon."""
    return f"paused:{type_name(task_type)}"


def is_aside(name: str) -> bool:
    """Whether a held list is one of a paused type."""
    return name.startswith("paused:")


@dataclass(frozen=True, slots=True)
class Keys:
    """Every key of one queue. **Public** ones keep their names for ever.

    queue      LIST    what producers LPUSH to                                     (public)
    inflight   HASH    tag -> the raw item as pushed; HLEN is the number in flight (public)
    meta       HASH    tag -> "deliveries:attempts", only when not both are 0, or with
                       ":Unix ms" at which it was requeued
    marks      HASH    tag -> "name id" of a unique task, wherever it waits or runs
    workers    ZSET    worker id -> lease deadline, ms of Redis TIME
    about      HASH    worker id -> JSON description of a worker
    control    HASH    worker id -> "drain", "cancel:<n>", parted by spaces
    arrivals   LIST    where the blocking move lands; shared by all workers
    lists      SET     where the queue has several lists: their names, the queue's own among them
    redeliver  LIST    "tag:deliveries:attempts|raw" of dead workers and what was delayed;
                       "Unix ms/tag:..." of what was requeued then
    delayed    ZSET    the same entries of retries and run_at, by due time in Unix ms
    dead       STREAM  dead letters                                                (public)
    dead_index LIST    "id bytes" of the invalid items among the dead letters
    dead_from  STRING  id of the dead letter up to which all are invalid items
    requeued   HASH    hash of an item's bytes -> "copies requeued and not claimed yet:Unix ms"
    stats      HASH    running totals                                              (public)
    paused     STRING  present = claim nothing                                     (public)
    paused_types HASH  name of a type that no worker starts -> "Unix s, why"
    held       SET     names of types that have held tasks (a name: the type, escaped), and
                       paused:<name> of paused types that have tasks set aside
    schedule   HASH    name of a scheduled task -> Unix s of the last time enqueued
    alone      STRING  worker id that makes room for a task on its last delivery
    reclaiming STRING  worker id that scans in flight now
    clock      STRING  "ms of Redis TIME, ms": when the retries last followed a clock set back
    version    STRING  format of all this
    origin     STRING  "token queue": random where these keys began, and the queue that they are of
    groups     ZSET    name of an open group -> its deadline, Unix ms
    """

    queue: str
    inflight: str
    meta: str
    marks: str
    workers: str
    about: str
    control: str
    arrivals: str
    lists: str
    redeliver: str
    delayed: str
    dead: str
    dead_index: str
    dead_from: str
    requeued: str
    stats: str
    paused: str
    paused_types: str
    held: str
    schedule: str
    alone: str
    reclaiming: str
    clock: str
    version: str
    origin: str
    groups: str

    @classmethod
    def of(cls, queue: str) -> Keys:
        """The keys of `queue`; raises ValueError when it is empty."""
        p = prefix(queue)
        names = [name for name in cls.__dataclass_fields__ if name != "queue"]
        return cls(queue=queue, **{name: f"{p}:{name}" for name in names})

    def owns(self, key: str) -> bool:
        """Whether `key` is the queue or one of our keys of it, which nobody else may write."""
        return key == self.queue or key.startswith(f"{prefix(self.queue)}:")

    def arrivals_of(self, source: str) -> str:
        """LIST where the blocking move of one of several lists lands."""
        return self.arrivals if source == self.queue else f"{self.arrivals}:{source}"

    def held_of(self, name: str) -> str:
        """LIST of what a limit or a pause keeps back; `name` is one of the set `held`."""
        return f"{self.held}:{name}"

    @property
    def prefix(self) -> str:
        """What every key of ours begins with; of limited types there are, by name:

        held:<name>     LIST    entries as in redeliver, which a limit or a pause keeps back
        holders:<name>  SET     tags that run, where their number is limited in all workers
        rate:<name>     STRING  "us tag": TIME at which another is due, the last one let through
        unique:<name>   HASH    task id -> the latest tag of the one that waits or runs
        barriers:<name> ZSET    task id -> position up to which claims are duplicates
        """
        return f"{prefix(self.queue)}:"

    def run(self, run_id: str) -> str:
        """LIST of the completion records of one run (expires after an hour)."""
        return f"{prefix(self.queue)}:run:{run_id}"

    def result(self, task_id: str) -> str:
        """LIST of one JSON document: what became of a task (public; expires)."""
        return f"{prefix(self.queue)}:result:{task_id}"

    def state(self, task_id: str) -> str:
        """STRING waiting | running, of a tracked task that has not ended (public; expires)."""
        return f"{prefix(self.queue)}:state:{task_id}"

    def record(self, task_id: str) -> str:
        """STRING: the item of a task of Django's, as its producer pushed it (expires)."""
        return f"{prefix(self.queue)}:record:{task_id}"

    def group(self, name: str) -> str:
        """STRING of JSON: a group as its producer wrote it (public; expires)."""
        return f"{prefix(self.queue)}:group:{name}"

    def group_state(self, name: str) -> str:
        """HASH: how far an adopted group is, and what is to be pushed when it has ended."""
        return f"{prefix(self.queue)}:group_state:{name}"

    def group_ended(self, name: str) -> str:
        """STRING: a bit for each member of a group that has ended."""
        return f"{prefix(self.queue)}:group_ended:{name}"


def private_to(key: str) -> str | None:
    """The prefix of the queue that may have `key` among its own keys; None where it cannot be."""
    names = {*EXPECTED_TYPES, "run", "holders", "rate", "unique", "barriers", "result", "state"}
    names |= {"group", "group_state", "group_ended", "record"}
    for at, char in enumerate(key):
        head = key[:at]
        if char == ":" and head and prefix(head) == head and key[at + 1 :].split(":")[0] in names:
            return head
    return None


# What each key must be where it exists; checked at start.
EXPECTED_TYPES = {
    "queue": "list",
    "inflight": "hash",
    "meta": "hash",
    "marks": "hash",
    "workers": "zset",
    "about": "hash",
    "control": "hash",
    "arrivals": "list",
    "lists": "set",
    "redeliver": "list",
    "delayed": "zset",
    "dead": "stream",
    "dead_index": "list",
    "dead_from": "string",
    "requeued": "hash",
    "stats": "hash",
    "paused": "string",
    "paused_types": "hash",
    "held": "set",
    "schedule": "hash",
    "alone": "string",
    "reclaiming": "string",
    "clock": "string",
    "version": "string",
    "origin": "string",
    "groups": "zset",
}
