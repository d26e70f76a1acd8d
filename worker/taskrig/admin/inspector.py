"""What operators do to a queue and its workers: look, pause, drain, cancel, reclaim.

Blocking calls over one connection of its own, for commands and for the threads of the HTTP port.
Every call may be repeated: what is done already is left as it is.
"""

from __future__ import annotations

import json
import math
import secrets
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from taskrig.broker import (
    Address,
    Command,
    Depths,
    Orphans,
    QueueCommands,
    Slice,
    Stride,
    Survey,
    ThreadConnection,
)
from taskrig.broker.start import key_checks, queue_of, refusal
from taskrig.broker.steps import Pause, Step, Steps, drive
from taskrig.config.sections import Config
from taskrig.errors import UsageError
from taskrig.keys import aside_name, is_aside

T = TypeVar("T")
S = TypeVar("S", Slice, Orphans)

TAGS_AT_A_TIME = 1000
_LEASE_S = 30.0  # of a reclaim by hand, renewed with every slice
_HOLD_MS = 5_000  # other scanners wait for this long after a slice


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """What a scan of in flight brought back; `busy`: another scan was under way, try again."""

    moved: int
    busy: bool = False


class Inspector:
    """One operator at one queue."""

    def __init__(self, config: Config, address: Address) -> None:
        self.config = config
        self.commands = QueueCommands(config)
        self.where = address.where
        self._connection = ThreadConnection(address, config.redis.socket_timeout_s)

    def close(self) -> None:
        """Close the connection; never raises."""
        self._connection.close()

    def run(self, command: Command[T]) -> T:
        """Run a command; raises BrokerUnavailable."""
        return self._connection.run(command)

    def take(self, steps: Steps[T]) -> T:
        """Take steps that ask several commands; raises BrokerUnavailable, and what they raise."""
        return drive(steps, self._ask)

    def _ask(self, step: Step) -> object:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        return self.run(step if isinstance(step, Command) else step.command)

    def refuse_wrong_key(self) -> None:
        """Raises UsageError when a key of the queue has a wrong type, BrokerUnavailable."""
        for check in key_checks(self.commands.keys, self.config.queue.sources):
            wrong = check.complaint(self.run(check.question))
            if wrong:
                raise refusal(wrong)

    def refuse_other_queue(self) -> None:
        """Raises UsageError when the keys are those of another queue, BrokerUnavailable."""
        other, keys = queue_of(self.run(self.commands.origin())), self.commands.keys
        if other not in ("", keys.queue):
            raise UsageError(
                f"{keys.prefix}* are the keys of the queue {other!r}, not of "
                f"{keys.queue!r}: give --redis-key {shlex.quote(other)}"
            )

    def survey(self) -> Survey:
        """How things stand now; raises BrokerUnavailable."""
        seen = self.run(self.commands.survey())
        # Workers tell with their leases what they run: leave out what has ended since.
        held = self._in_flight([task.tag for task in seen.running])
        return seen.without(task for task, yes in zip(seen.running, held, strict=True) if not yes)

    def look(self) -> Depths:
        """The depths alone, cheaper than a survey; raises BrokerUnavailable."""
        return self.run(self.commands.look())

    def _in_flight(self, tags: list[str]) -> list[bool]:
        found: list[bool] = []
        for at in range(0, len(tags), TAGS_AT_A_TIME):
            found += self.run(self.commands.in_flight(tags[at : at + TAGS_AT_A_TIME]))
        return found

    def held_lists(self) -> tuple[list[str], list[str]]:
        """The keys of tasks that limits, and that pauses hold back; raises BrokerUnavailable."""
        names, held_of = sorted(self.run(self.commands.held_names())), self.commands.keys.held_of
        paused = [held_of(name) for name in names if is_aside(name)]
        return [held_of(name) for name in names if not is_aside(name)], paused

    def lists(self) -> list[str]:
        """The lists of a queue that has several; raises BrokerUnavailable."""
        return sorted(self.run(self.commands.lists()))

    def held(self, tag: str) -> bool:
        """Whether a task is in flight; raises BrokerUnavailable."""
        return self._in_flight([tag])[0]

    def item(self, tag: str) -> bytes | None:
        """The raw item of a task in flight, None when it is not; raises BrokerUnavailable."""
        return self.run(self.commands.item(tag))

    def pause(self, why: str = "") -> bool:
        """Let no worker claim; False when it was so already. Raises BrokerUnavailable."""
        return self.run(self.commands.pause(_one_line(why)))

    def resume(self) -> bool:
        """Let workers claim again; False when they could. Raises BrokerUnavailable."""
        return self.run(self.commands.resume())

    def pause_type(self, task_type: str, why: str = "") -> bool:
        """Let no worker start tasks of one type; False when it was so already.

        A worker knows within `worker.interval`, a second at most; what it claims of the type from
        then on is set aside. Raises BrokerUnavailable.
        """
        return self.run(self.commands.pause_type(task_type, _one_line(why)))

    def resume_type(
        self, task_type: str, progress: Callable[[int], None], within_s: float = math.inf
    ) -> tuple[bool, int]:
        """Let workers start tasks of this type again, and give back what was set aside.

        In slices; `progress` is told after each how many have been given back. Were it to break
        off, as it does after `within_s`, live workers would do the rest. Returns (whether it was
        paused, how many were given back). Raises BrokerUnavailable.
        """
        until = time.monotonic() + within_s
        changed = self.run(self.commands.resume_type(task_type))
        bring_back = self.commands.bring_back(aside_name(task_type))
        moved = 0
        while True:
            part, left = self.run(bring_back)
            moved += part
            progress(moved)
            if not left or time.monotonic() >= until:
                return changed, moved

    def paused_types(self) -> list[str]:
        """The paused types, sorted; raises BrokerUnavailable."""
        return self.run(self.commands.paused_types())

    def drain(self, worker: str) -> str:
        """Ask a worker to drain: "", already or no_worker. Raises BrokerUnavailable."""
        return self.run(self.commands.ask(worker, "drain"))

    def cancel(self, tag: str) -> str:
        """Ask a task's worker to cancel it; raises BrokerUnavailable.

        Returns "" (asked), already, not_in_flight, no_worker (its worker is silent: the task
        will be reclaimed) or too_many (asks that the worker has not yet seen).
        """
        return self.take(cancel(self.commands, tag))

    # -- reclaiming

    def orphans(self) -> dict[str, int]:
        """How many tasks are in flight of each worker without a live lease."""
        counts: dict[str, int] = {}
        for part in self._slices(self.commands.orphans):
            for worker, count in part.workers:
                counts[worker] = counts.get(worker, 0) + count
        return counts

    def reclaim(self, progress: Callable[[int], None]) -> Reclaimed:
        """Requeue now what workers without a live lease hold, as a worker would later.

        `progress` is told after each slice how many were moved. Raises BrokerUnavailable.
        """
        scan = _Scan(self)
        moved = 0
        began = ""
        try:
            for part in self._slices(scan.slice):
                if part.state:
                    return Reclaimed(moved, busy=True)
                began = began or part.now_ms
                moved += part.moved
                progress(moved)
            self.run(self.commands.forget(began))
        finally:
            scan.leave()
        return Reclaimed(moved)

    def _slices(self, of: Callable[[int, int], Command[S]]) -> Iterator[S]:
        """Go through in flight in slices of about SLICE_BYTES; `of` takes a cursor and a count."""
        cursor, stride = 0, Stride(500)
        while True:
            part = self.run(of(cursor, stride.count))
            yield part
            stride.saw(part.seen, part.bytes)
            cursor = part.cursor
            if cursor == 0:
                return


def cancel(commands: QueueCommands, tag: str) -> Steps[str]:
    """See `Inspector.cancel`."""
    worker, colon, number = tag.rpartition(":")
    if not (worker and colon and number.isascii() and number.isdigit()):
        return "not_in_flight"
    answer: str = yield commands.ask(worker, f"cancel:{number}")
    return answer


def _one_line(why: str) -> str:
    return " ".join(why.split())[:200]


class _Scan:
    """A scan of in flight under a lease of its own: whoever reclaims must hold one."""

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector
        self._id = f"operator-{secrets.token_hex(5)}"

    def slice(self, cursor: int, count: int) -> Command[Slice]:
        """Move one slice's orphans, once the lease is renewed."""
        commands, about = self._inspector.commands, json.dumps({"lease": _LEASE_S})
        self._inspector.run(commands.renew(self._id, _LEASE_S, about))
        return commands.reclaim(self._id, cursor, count, _HOLD_MS)

    def leave(self) -> None:
        """Give the lease and the scanner's turn back."""
        run, commands = self._inspector.run, self._inspector.commands
        run(commands.leave(self._id))
        if run(commands.scanner()) == self._id:
            run(commands.end_scan())
