"""Tasks of limited types start only as their limits allow; the others never come here.

What may not start now is held in Redis, on a list of its type, and comes back to the queue when
there is room: when a task of the type has ended here, when the rate allows the next one, and at
each look. Nobody waits in a slot, and nobody asks again and again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from taskrig.broker import Broker
from taskrig.engine.dispositions import Dead, Held
from taskrig.engine.events import WrongKeys
from taskrig.engine.execution import Execution
from taskrig.engine.inbox import Inbox
from taskrig.engine.policies import Limits, TaskPolicy
from taskrig.engine.runner import Runner

MIN_PAUSE_S = 0.005  # a fast rate is served in small bursts, within its slack
START, HOLD, DUPLICATE = 1, 0, 2
PLAIN, ONLY_MARK, LATE = 0, 1, 2  # what a task asks for
ASKS = 3  # so often a late task asks; then it starts, or a slow worker would start none


class Limiter:
    """Asks Redis, once a turn at most, which of the claimed tasks of limited types may start."""

    def __init__(
        self, limited: Iterable[TaskPolicy], broker: Broker, runner: Runner, inbox: Inbox
    ) -> None:
        """What waits to be let through stands in `runner.limited`."""
        self._policies = list(limited)
        self._broker = broker
        self._runner = runner
        self._inbox = inbox
        self._ended: list[Execution] = []
        self._room_for: set[TaskPolicy] = set()  # types of which held ones may be able to start
        self._look_due = True
        self._cursors: dict[TaskPolicy, str] = {}
        self._timers: dict[TaskPolicy, asyncio.TimerHandle] = {}
        self._wrong = WrongKeys()
        self._late: dict[str, int] = {}  # tags that were let through too long ago, and how often

    @property
    def due(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self._look_due or self._runner.limited or self._ended or self._room_for)

    def settled(self, batch: Iterable[Execution]) -> None:
        """These have left in flight: what they held is free."""
        for execution in batch:
            policy = execution.policy
            if policy is not None and policy.limits is not None and execution.admitted:
                execution.admitted = False
                policy.limits.running -= 1
                if policy.limits.any_number:
                    continue
                self._ended.append(execution)
                self._room_for.add(policy)

    def look(self) -> None:
        """Look at every limited type at the next turn, also for marks of dead workers."""
        self._look_due = True

    async def turn(self, room: int) -> bool:
        """Ask, and start or hold what was claimed; True when held tasks came back for free slots.

        `room`: how many held tasks this worker could take; -1 when its slots are full, 0 when it
        takes nothing.

        Raises:
            BrokerUnavailable: nothing was decided; the next turn asks again.
        """
        looks = self._look_due
        waiting = self._runner.limited
        waiting[:] = [one for one in waiting if one.disposition is None]
        claimed = list(waiting)
        ended = list(self._ended)
        policies = self._asked_about(claimed, looks)
        if not policies:
            return False
        index = {policy: number for number, policy in enumerate(policies, 1)}
        asked_at = time.monotonic()
        gate = self._broker.commands.gate(
            room,
            [self._type(policy, looks) for policy in policies],
            [(index[_policy(e)], e.delivery.tag) for e in ended],
            [(index[_policy(e)], *self._starting(e)) for e in claimed],
        )
        verdicts, states = await self._broker.run_between(gate)
        del waiting[: len(claimed)], self._ended[: len(ended)]
        self._look_due = False
        self._room_for.difference_update(policies)
        for execution, verdict in zip(claimed, verdicts, strict=True):
            self._decide(execution, verdict, asked_at)
        if looks:
            self._wrong.seen(state.wrong for state in states)
        for policy, state in zip(policies, states, strict=True):
            if looks:
                self._cursors[policy] = state.cursor
            if state.wait_ms == 0 and room:
                self._room_for.add(policy)  # for the next turn, whenever it comes
            elif state.wait_ms > 0:
                self._look_in(policy, state.wait_ms / 1000)
        return room > 0 and any(state.moved for state in states)

    def _asked_about(self, claimed: list[Execution], looks: bool) -> list[TaskPolicy]:
        if looks:
            self._policies.append(
                self._policies.pop(0)
            )  # each is the first to get its held ones back
            return list(self._policies)
        return list(
            {_policy(e): None for e in (*claimed, *self._ended)} | dict.fromkeys(self._room_for)
        )

    def _type(self, policy: TaskPolicy, looks: bool) -> tuple[str | int | float, ...]:
        limits = _limits(policy)
        here = -1 if limits.here is None else max(0, limits.here - limits.running)
        cursor = self._cursors.get(policy, "0") if looks else ""
        every_us, slack_us = limits.every_us, limits.slack_us
        return limits.name, here, limits.total, every_us, slack_us, int(limits.unique), cursor

    def _starting(self, execution: Execution) -> tuple[str, int, int, str]:
        delivery = execution.delivery
        position = 0
        if not delivery.returned:  # a claim's position is only known where types are unique
            position = max(1, delivery.position) if _limits(_policy(execution)).unique else 1
        asks_for = PLAIN if execution.waits is None else ONLY_MARK
        if delivery.tag in self._late:
            asks_for = LATE
        return delivery.tag, position, asks_for, _id(execution)

    def _is_late(self, execution: Execution, asked_at: float) -> bool:
        """Whether it was let through so long ago that it has to tell Redis of its later start."""
        late_us, tag = _limits(_policy(execution)).late_us, execution.delivery.tag
        asked = self._late.pop(tag, 0) + 1
        if not late_us or asked >= ASKS or time.monotonic() - asked_at <= late_us / 1e6:
            return False
        self._late[tag] = asked
        return True

    def _decide(self, execution: Execution, verdict: int, asked_at: float) -> None:
        if execution.disposition is not None:
            self._late.pop(execution.delivery.tag, None)
            # It was released while we asked; what it was given goes back.
            if verdict == START:
                self._ended.append(execution)
            return
        if verdict == START and self._is_late(execution, asked_at):
            self._runner.limited.append(execution)
            self._inbox.wake()
            return
        self._late.pop(execution.delivery.tag, None)
        if verdict == START:
            execution.admitted = True
            _limits(_policy(execution)).running += 1
            self._runner.begin(execution)
        elif verdict == DUPLICATE:
            error = "another task with its id waits, runs, or ended after this one was pushed"
            execution.disposition = Dead("duplicate", error)
            self._runner.refuse(execution)
        elif execution.waits is not None:
            execution.disposition = execution.waits
            self._runner.refuse(execution)
        else:
            end = "front" if execution.delivery.returned else "back"
            execution.disposition = Held(_limits(_policy(execution)).name, end)
            self._runner.refuse(execution)

    def _look_in(self, policy: TaskPolicy, seconds: float) -> None:
        timer = self._timers.get(policy)
        if timer is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._timers[policy] = loop.call_later(max(seconds, MIN_PAUSE_S), self._rate_allows, policy)

    def _rate_allows(self, policy: TaskPolicy) -> None:
        self._room_for.add(policy)
        self._inbox.wake()


def _policy(execution: Execution) -> TaskPolicy:
    assert execution.policy is not None
    return execution.policy


def _limits(policy: TaskPolicy) -> Limits:
    assert policy.limits is not None
    return policy.limits


def _id(execution: Execution) -> str:
    task = execution.task
    return task.id or "" if task is not None and _limits(_policy(execution)).unique else ""
