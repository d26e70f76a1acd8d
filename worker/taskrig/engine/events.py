"""What happens to tasks and to Redis, told to people (log lines) and to machines (metrics)."""

from __future__ import annotations

import logging
import math
import random
import time
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping

from taskrig.authoring.registry import UNKNOWN, Registry
from taskrig.config.sections import DeadLettersConfig, LogConfig
from taskrig.engine.clock import ServerClock
from taskrig.engine.dispositions import Dead, Failed, Invalid, Released, Retried, Succeeded
from taskrig.engine.execution import Execution
from taskrig.metrics import Metrics, TypeMetrics
from taskrig.runtime.logs import log_error, say
from taskrig.runtime.once import Once
from taskrig.task import Outcome

log = logging.getLogger("taskrig")

SHOWN_EVERY_S = 60.0  # of one kind of error, how often a traceback is shown
KNOWN_ERRORS = 500


class Events:
    """Tells of every event once. Per-task lines that are off cost one comparison."""

    def __init__(
        self, metrics: Metrics, log_config: LogConfig, clock: ServerClock, registry: Registry
    ) -> None:
        self.metrics = metrics
        # The share of tasks, 0 to 1, that get lines.
        self.sample = log_config.task_sample if log.isEnabledFor(logging.INFO) else 0.0
        self.begun = 0  # handlers called so far, which is the number of the latest in log lines
        self._failures = log_config.tasks != "none"
        self._previews = log_config.previews  # show how an invalid item starts
        self._clock = clock
        self._registry = registry
        self._no_handler = Once()
        self._invalid = _Limit(burst=20, per_s=1.0)
        self._outages = _Limit(burst=5, per_s=0.1)
        self._errors = _Known()
        self._say_back = True

    def started(self, execution: Execution, running: int) -> None:
        """A handler is about to be called; only of interest with lines, or a time of enqueueing."""
        self._waited(execution, execution)
        if self.sample and (self.sample >= 1.0 or random.random() < self.sample):
            execution.number = self.begun
            kind = type_shown(execution)
            say("task %d started, handling %s (%d running)", self.begun, kind, running)

    def _waited(self, execution: Execution, run: Execution) -> None:
        """Observe for how long a task has waited for `run`, where its producer gave a time."""
        task, numbers = execution.task, run.numbers
        if task is not None and task.enqueued_at is not None and numbers is not None:
            now = self._clock.at(run.started) or time.time()
            since = max(task.enqueued_at, execution.delivery.requeued_at)
            numbers.wait.observe(max(0.0, now - since))

    def batch_started(self, first: Execution, running: int) -> None:
        """A handler is about to be called with the batch that `first` carries."""
        for one in first.each:
            self._waited(one, first)
        if first.numbers is not None and first.numbers.batches is not None:
            first.numbers.batches.observe(len(first.each))
        if self.sample and (self.sample >= 1.0 or random.random() < self.sample):
            first.number = self.begun
            log.info(
                "batch %d started, handling %d of %s (%d running)",
                *(self.begun, len(first.each), type_shown(first), running),
            )

    def batch_ended(self, first: Execution) -> None:
        """The handler of a batch returned, failed or was stopped: one line for all its tasks."""
        took_s, number = first.ended - first.started, first.number
        ends = [one.disposition for one in first.each if one.disposition is not None]
        counts = Counter(one.outcome.value for one in ends)
        shown = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        failed = [one for one in first.each if isinstance(one.disposition, (Failed, Retried))]
        if failed and self._failures:
            cause = failed[0].disposition
            self._failed(
                *(failed[0], "batch %d ended after %.3f s (%s): %s; the first error: %s"),
                *(number or self.begun, took_s, type_shown(first), shown),
                getattr(cause, "error", ""),
            )
        elif number:
            log.info("batch %d done in %.3f s: %s", number, took_s, shown)

    def ended(self, execution: Execution) -> None:
        """A handler returned, failed or was stopped; a success without lines is of no interest."""
        took_s, number = execution.ended - execution.started, execution.number
        match execution.disposition:
            case Failed(outcome=Outcome.FAILED, error=error) if self._failures:
                self._failed(
                    *(execution, "task %d failed after %.3f s (%s): %s"),
                    *(number or self.begun, took_s, type_shown(execution), error),
                )
            case Retried(error=error, after_s=after_s) if self._failures:
                self._failed(
                    execution,
                    "task %d failed after %.3f s (%s), again in %.3f s (attempt %d): %s",
                    *(number or self.begun, took_s, type_shown(execution)),
                    *(after_s, execution.delivery.attempts + 2, error),
                )
            case Released() if number:
                log.info("task %d interrupted after %.3f s, released", number, took_s)
            case Succeeded() if number:
                policy = execution.policy
                dry = " (a dry run)" if policy is not None and policy.handler.dry_run else ""
                say("task %d done in %.3f s%s", number, took_s, dry)

    def _failed(self, execution: Execution, text: str, *args: object) -> None:
        """One line; of an error that is new, or was not shown lately, with its traceback."""
        trace, policy = execution.trace, execution.policy
        label = policy.label if policy is not None else UNKNOWN
        hidden = self._errors.hidden((label, *trace.key)) if trace is not None else None
        if trace is None or hidden is None:
            log.warning(text, *args)
        elif hidden:
            log_error(log, trace.text, text + " (and %d more like it before)", *args, hidden)
        else:
            log_error(log, trace.text, text, *args)

    def settled(self, execution: Execution) -> None:
        """An outcome reached Redis."""
        disposition = execution.disposition
        if disposition is not None and disposition.outcome is not Outcome.INVALID:
            numbers = execution.numbers or self._numbers_of(execution)
            numbers.outcomes[disposition.outcome._value_] += 1

    def _numbers_of(self, execution: Execution) -> TypeMetrics:
        policy = execution.policy
        return policy.numbers if policy is not None else self.metrics.of(UNKNOWN)

    def invalid(self, reason: str, size: int, start: bytes) -> None:
        """A list item that is not a task was put aside."""
        self.metrics.invalid[reason] += 1
        hidden = self._invalid.hidden()
        if hidden is not None:
            more = f" (and {hidden} more before it)" if hidden else ""
            preview = f", starts {ascii(start[:60])[1:]}" if self._previews else ""
            log.warning("skipped an invalid item: %s, %d bytes%s%s", reason, size, preview, more)

    def unrun(self, execution: Execution) -> None:
        """It ended before a handler was called: invalid, without handler, too early or too late."""
        raw = execution.delivery.raw
        match execution.disposition:
            case Invalid(reason=reason):
                self.invalid(reason, len(raw), raw[:64])
            case Failed(reason="no_handler"):
                self._without_handler(execution)
            case Dead(reason="poison", error=error):
                tag = execution.delivery.tag
                log.error("task %s (%s) is a dead letter: %s", tag, type_shown(execution), error)
            case Failed(error=error) if self._failures:  # also what is dead without a run
                log.warning("task failed (%s): %s", type_shown(execution), error)

    def _without_handler(self, execution: Execution) -> None:
        kind = execution.task.type if execution.task is not None else ""
        ending = self._no_handler.says(kind)
        shown = type_shown(execution)
        if ending is not None:
            log.warning(
                "no handler takes type %s%s: its tasks are dead letters, reason no_handler (%s)",
                *(shown, self._registry.hint(kind), ending),
            )
        elif self._failures:
            log.info("task failed (%s): no handler takes this type", shown)

    def claim_lost(self, execution: Execution) -> None:
        """The task was no longer this worker's when it was settled: its result is dropped."""
        self.metrics.claims_lost += 1
        tag = execution.delivery.tag
        log.warning(
            "claim lost: task %s (%s) is not in flight any more: another worker has it, "
            "or Redis lost its data; its result is dropped",
            *(tag, type_shown(execution)),
        )

    def redis_away(self, why: str) -> None:
        """A call to Redis failed while it was there until now."""
        self.metrics.redis_up = 0
        hidden = self._outages.hidden()
        self._say_back = hidden is not None
        if hidden is not None:
            more = f" ({hidden} times more before)" if hidden else ""
            log.error("Redis is away: %s; running tasks go on, their results are kept%s", why, more)

    def redis_back(self, after_s: float) -> None:
        """Redis answers again."""
        self.metrics.redis_up = 1
        if self._say_back:
            log.warning("Redis is back after %.1f s", after_s)


class WrongKeys:
    """Tells of keys of single types that are of a wrong type, each once until it is mended."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def seen(self, wrong: Iterable[str]) -> None:
        """What is wrong now, in words; empty ones are nothing."""
        now = set(filter(None, wrong))
        for one in sorted(now - self._told):
            log.error("%s: delete or rename it; tasks of its type wait until then", one)
        for one in sorted(self._told - now):
            log.warning("mended: %s", one)
        self._told = now


class LostData:
    """Says once, when Redis comes back without its data or with older data, what that means."""

    def __init__(self) -> None:
        self.origin, self._claimed = "", 0

    def seen(self, origin: str, claimed: int, in_hand: int) -> None:
        """What a look found; `claimed` only ever grows while the data lasts."""
        if origin == "?":  # a key of a wrong type
            return
        if self.origin and origin != self.origin:
            log.error(
                "Redis has lost its data (a restart without persistence, or FLUSHALL): what waited "
                "there, was delayed or dead is gone, and so is a pause. The %d tasks in hand run "
                "on, but how they end cannot be recorded. New tasks are taken as before",
                in_hand,
            )
        elif claimed < self._claimed:
            log.error(
                "Redis has older data than before (a restored snapshot, a replica that lagged, or "
                "deleted totals): %d claims are missing. Tasks may be lost, or run twice, also the "
                "%d in hand",
                *(self._claimed - claimed, in_hand),
            )
        self.origin, self._claimed = origin, claimed


class Dropped:
    """Says that dead letters are lost by their bounds: when it begins, then every ten minutes."""

    def __init__(self, bounds: DeadLettersConfig) -> None:
        self._lines = {
            "failed": "dropped the %d oldest dead letters, which are lost: dead_letters.max "
            f"({bounds.max}) is reached; requeue or drop some (see worker dead list), or raise it",
            "invalid": "dropped the %d oldest invalid items, which are lost: "
            f"dead_letters.invalid_max ({bounds.invalid_max}) or invalid_max_bytes "
            f"({bounds.invalid_max_bytes}) is reached; see worker dead list --outcome invalid",
        }
        self._limits = {kind: _Limit(burst=1, per_s=1 / 600) for kind in self._lines}
        self._said: dict[str, int] = {}

    def seen(self, trimmed: Mapping[str, int]) -> None:
        """How many were dropped, ever, by kind."""
        for kind, line in self._lines.items():
            count = trimmed[kind]
            said = self._said.setdefault(kind, count)  # what was lost before our time is not news
            if count < said:
                self._said[kind] = count  # Redis came back without its data
            elif count > said and self._limits[kind].hidden() is not None:
                log.warning(line, count - said)
                self._said[kind] = count


class _Limit:
    """At most `burst` lines at once and `per_s` in the long run; the rest is counted."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst, self._per_s = burst, per_s
        self._tokens, self._at, self._hidden = float(burst), time.monotonic(), 0

    def hidden(self) -> int | None:
        """How many were hidden since the last line, or None when this one is to be hidden too."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_s)
        self._at = now
        if self._tokens < 1:
            self._hidden += 1
            return None
        self._tokens -= 1
        hidden, self._hidden = self._hidden, 0
        return hidden


class _Known:
    """Which errors are shown with their tracebacks: each that is new, then one like it a minute.

    The latest KNOWN_ERRORS are remembered; and whatever they are, not more than 20 of them at once
    and one a second.
    """

    def __init__(self) -> None:
        self._seen: dict[Hashable, tuple[float, int]] = {}  # when it was shown, and hidden since
        self._all = _Limit(burst=20, per_s=1.0)

    def hidden(self, error: Hashable) -> int | None:
        """How many like it were hidden since the last one, or None when this one is to be too."""
        now = time.monotonic()
        shown_at, hidden = self._seen.pop(error, (-math.inf, 0))
        show = now - shown_at >= SHOWN_EVERY_S and self._all.hidden() is not None
        self._seen[error] = (now, 0) if show else (shown_at, hidden + 1)
        if len(self._seen) > KNOWN_ERRORS:
            del self._seen[next(iter(self._seen))]
        return hidden if show else None


def type_shown(execution: Execution) -> str:
    """The task's type, printable and short: it is text from a payload."""
    kind = execution.task.type if execution.task is not None else "?"
    if len(kind) <= 60 and kind.isprintable() and kind.isascii():
        return kind
    return ascii(kind[:60])
