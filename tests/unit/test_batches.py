"""Which tasks go into which batch, and when it begins, without a server and in fake time."""

from __future__ import annotations

import asyncio
import re

import pytest

from taskrig import BatchFailed, Reject, Retry, handler
from taskrig.authoring.registry import Registry, handlers_of
from taskrig.config.sections import TaskConfig
from taskrig.engine.batches import MOST_BYTES, Batches, judge
from taskrig.engine.capacity import Capacity
from taskrig.engine.dispositions import RELEASED, SUCCEEDED, Dead, Failed, Held, Retried
from taskrig.engine.execution import Batch, Execution, Pipeline
from taskrig.engine.inbox import Inbox
from taskrig.engine.policies import Policies
from taskrig.errors import UsageError
from taskrig.task import Delivery
from taskrig.testing import in_fake_time


@handler("insert", batch=3, linger_s=10)
async def insert(tasks):
    """Never called here."""


@handler("upsert", batch=3, linger_s=10)
async def upsert(tasks):
    """Never called here."""


@handler("plain")
async def plain(data):
    """Never called here."""


class Gathering:
    """Batches of a worker, and the tasks that it claims."""

    def __init__(self, *functions, limit=4, max_deliveries=3, retries=0):
        registry = Registry()
        for function in functions or (insert,):
            registry.add(handlers_of(function)[0])
        settings = {"insert": TaskConfig(retries=retries, backoff_s=0)}
        self.pipeline = Pipeline(Policies(registry, settings))
        self.capacity = Capacity(limit, None, 1000)
        self.inbox = Inbox()
        self.batches = Batches(self.pipeline, self.capacity, self.inbox, max_deliveries)
        self.number = 0

    def claim(self, size=0, deliveries=0, kind="insert", attempts=0):
        self.number += 1
        raw = b'{"type": "%b", "data": "%b"}' % (kind.encode(), b"x" * size)
        execution = Execution(Delivery(f"w:{self.number}", raw, deliveries, attempts))
        self.capacity.running[execution.delivery.tag] = execution
        assert self.pipeline.prepare(execution)
        return execution

    def gather(self, count=1, **of):
        """Claim tasks and put them into batches; what becomes of each."""
        return [self.batches.gather(self.claim(**of)) for _ in range(count)]

    def due(self):
        """The numbers of the tasks of each batch that begins now."""
        self.leads = list(self.batches.due())
        self.batches.look_ahead()
        return [numbers(lead.batch.executions) for lead in self.leads]

    def end(self, lead, disposition=SUCCEEDED):
        """The batch that it carries has ended."""
        for one in lead.each:
            one.disposition = disposition
        del self.capacity.running[lead.delivery.tag]
        self.batches.ended(lead)
        self.batches.look_ahead()

    def ended(self):
        return numbers(self.inbox.ended)


def numbers(executions):
    return [int(one.delivery.tag.partition(":")[2]) for one in executions]


def in_time(scenario):
    """Run a scenario in a loop whose clock jumps over every wait."""
    in_fake_time(scenario())


def test_a_full_batch_is_due_at_once_and_uses_one_slot():
    async def scenario():
        g = Gathering(insert, plain)
        g.gather(2)
        assert g.due() == [] and g.capacity.free() == 4
        g.gather(1)
        assert g.inbox.woken.is_set()
        assert g.due() == [[1, 2, 3]]
        assert g.capacity.free() == 3
        g.end(g.leads[0])
        assert g.capacity.free() == 4 and g.ended() == [2, 3]
        assert not g.capacity.batched

    in_time(scenario)


def test_a_batch_is_due_when_its_oldest_task_has_lingered():
    async def scenario():
        g = Gathering()
        g.gather()
        await asyncio.sleep(6)
        g.gather()
        await asyncio.sleep(3)
        assert g.due() == []
        await asyncio.sleep(2)
        assert g.due() == [[1, 2]]
        g.gather()
        await asyncio.sleep(9)
        assert g.due() == [], "the next one begins a wait of its own"
        await asyncio.sleep(2)
        assert g.due() == [[3]]

    in_time(scenario)


def test_a_third_batch_of_a_type_gathers_in_slots_until_one_has_ended():
    async def scenario():
        g = Gathering(insert, plain)
        g.gather(8)
        assert g.due() == [[1, 2, 3], [4, 5, 6]]
        assert g.capacity.free() == 4 - 2 - 2, "two batches and two tasks that wait"
        g.end(g.leads[0])
        assert g.capacity.free() == 3, "they gather now"
        g.gather()
        assert g.due() == [[7, 8, 9]]

    in_time(scenario)


def test_a_worker_of_batches_alone_claims_ahead_of_its_slots():
    async def scenario():
        g = Gathering(insert, limit=2)
        g.due()
        assert g.capacity.free() == 6
        g.gather(4)
        g.due()
        assert g.capacity.free() == 2
        g.gather(2)
        g.due()
        assert g.capacity.free() == 0

    in_time(scenario)


@pytest.mark.parametrize(
    ("functions", "more"),
    [((insert, plain), {}), ((insert,), {"max_deliveries": 1})],
    ids=["a plain type", "every delivery is the last"],
)
def test_where_a_task_may_need_a_slot_nothing_is_claimed_ahead(functions, more):
    async def scenario():
        g = Gathering(*functions, limit=2, **more)
        g.due()
        assert g.capacity.free() == 2

    in_time(scenario)


def test_the_type_with_the_least_room_says_how_many_are_claimed_ahead():
    async def scenario():
        g = Gathering(insert, upsert, limit=2)
        g.gather(5)
        g.due()
        assert g.capacity.free() == 1 + 1

    in_time(scenario)


def test_a_batch_waits_for_a_slot_and_the_first_that_was_ready_gets_it():
    async def scenario():
        g = Gathering(insert, upsert, limit=1)
        busy = g.claim(kind="upsert")
        g.gather(3)
        g.gather(3, kind="upsert")
        assert g.due() == []
        del g.capacity.running[busy.delivery.tag]
        assert g.due() == [[2, 3, 4]]
        g.capacity.claims.open_want = 1
        g.end(g.leads[0])
        assert g.due() == [], "a claim that is under way may bring a task for the slot"
        g.capacity.claims.open_want = 0
        assert g.due() == [[5, 6, 7]]

    in_time(scenario)


def test_the_bytes_of_a_type_are_bounded_and_what_cannot_wait_begins():
    async def scenario():
        g = Gathering(insert, plain)
        g.gather(size=MOST_BYTES // 2)
        g.gather(size=MOST_BYTES // 2)
        assert g.due() == [[1]], "the second does not fit beside it"
        assert g.capacity.free() == 4 - 1 - 1
        g.end(g.leads[0])
        await asyncio.sleep(11)
        assert g.due() == [[2]]
        g.end(g.leads[0])
        g.gather(size=2 * MOST_BYTES)
        await asyncio.sleep(11)
        assert g.due() == [[3]], "one that is larger than all is a batch of its own"

    in_time(scenario)


def test_a_last_delivery_begins_at_once_as_a_batch_of_its_own():
    async def scenario():
        g = Gathering()
        g.gather()
        last = g.claim(deliveries=2)
        assert g.batches.gather(last) is False
        assert numbers(last.batch.executions) == [2]
        g.end(last)
        assert g.due() == [], "the others go on gathering"
        g.batches.hurry()
        assert g.due() == [[1]]

    in_time(scenario)


def test_a_drain_gives_back_what_has_not_begun_and_gathers_no_more():
    async def scenario():
        g = Gathering(insert, plain, limit=1)
        g.gather(8)
        assert g.due() == [[1, 2, 3]]
        g.capacity.claiming = False
        g.batches.release()
        g.gather()
        assert g.ended() == [8, 7, 6, 5, 4, 9]
        assert {one.disposition for one in g.inbox.ended} == {RELEASED}
        g.end(g.leads[0])
        assert g.due() == [] and not g.capacity.batched
        await asyncio.sleep(20)
        assert g.due() == []

    in_time(scenario)


def test_the_tasks_of_a_handler_that_is_left_behind_are_given_back_with_it():
    async def scenario():
        g = Gathering()
        g.gather(3)
        g.due()
        (first,) = g.leads
        first.disposition = RELEASED  # of itself alone, as the runner says it
        del g.capacity.running[first.delivery.tag]
        g.batches.ended(first)
        assert [one.disposition for one in g.inbox.ended] == [RELEASED] * 2

    in_time(scenario)


def test_a_paused_type_is_set_aside_the_oldest_last():
    async def scenario():
        g = Gathering(insert, plain, upsert)
        g.gather(8)
        g.gather(kind="upsert")
        g.pipeline.paused_types = frozenset(["insert"])
        assert g.due() == []
        assert g.ended() == [8, 7, 6, 5, 4, 3, 2, 1], "each goes to the front"
        assert all(isinstance(one.disposition, Held) for one in g.inbox.ended)
        assert g.capacity.free() == 4
        g.batches.hurry()
        assert g.due() == [[9]], "other types go on"

    in_time(scenario)


def test_a_cancelled_task_leaves_its_batch_wherever_that_is():
    async def scenario():
        g = Gathering(insert, plain, limit=1)
        g.gather(8)
        assert g.due() == [[1, 2, 3]]
        first = g.leads[0]
        assert g.batches.cancel("w:2") is first, "it runs: that one is to be stopped"
        assert g.batches.cancel("w:5") is None
        assert g.batches.cancel("w:8") is None
        assert g.batches.cancel("w:99") is None
        assert g.ended() == [5, 8]
        assert all(isinstance(one.disposition, Dead) for one in g.inbox.ended)
        assert g.capacity.counted == 2
        g.end(first)
        await asyncio.sleep(11)
        assert g.due() == [[4, 6]]
        g.end(g.leads[0])
        assert g.due() == [[7]]

    in_time(scenario)


def test_a_batch_that_operators_empty_does_not_begin():
    async def scenario():
        g = Gathering()
        g.gather()
        g.batches.cancel("w:1")
        await asyncio.sleep(5)
        g.gather()
        await asyncio.sleep(9.9)
        assert g.due() == []
        await asyncio.sleep(0.2)
        assert g.due() == [[2]]

    in_time(scenario)


# -- what becomes of each ------------------------------------------------------------------------


def judged(fault, *attempts, stop="", cancelled=(), retries=2):
    """The dispositions of a batch whose run ended with `fault`."""
    found = []

    async def scenario():
        g = Gathering(retries=retries)
        executions = [g.claim(attempts=count) for count in attempts]
        executions[0].batch = Batch(executions, set(cancelled))
        executions[0].stop_reason = stop
        judge(executions[0], fault, g.pipeline)
        found.extend(one.disposition for one in executions)

    in_time(scenario)
    return found


def kinds(found):
    return [type(one) for one in found]


def test_without_a_fault_all_succeed():
    assert judged(None, 0, 0) == [SUCCEEDED] * 2
    assert judged(BatchFailed({}), 0, 0) == [SUCCEEDED] * 2


def test_each_is_retried_by_its_own_attempts():
    assert kinds(judged(ValueError("no"), 0, 1, 2)) == [Retried, Retried, Failed]


def test_those_that_are_named_fail_as_if_each_had_raised():
    fault = BatchFailed({1: Reject("never"), 3: Retry("later", after=7), 2: KeyError("k")})
    found = judged(fault, 0, 0, 2, 0)
    assert found[0] is SUCCEEDED
    assert found[1] == Failed("rejected", "Reject: never")
    assert found[2] == Failed("error", "KeyError: 'k'")
    assert (found[3].after_s, type(found[3])) == (7, Retried)


class Odd(BatchFailed):
    errors = 5

    def __init__(self):
        Exception.__init__(self, "odd")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (BatchFailed({2: ValueError("x")}), "IndexError: BatchFailed names task 2 of 2"),
        (BatchFailed({-1: ValueError("x")}), "IndexError: BatchFailed names task -1 of 2"),
        (Odd(), "Odd: odd"),
    ],
)
def test_what_names_no_task_of_the_batch_fails_all(fault, says):
    found = judged(fault, 0, 0, retries=0)
    assert kinds(found) == [Failed, Failed]
    assert all(one.error.startswith(says) for one in found)


def test_batch_failed_takes_exceptions_by_index():
    with pytest.raises(TypeError, match="an exception a task, got 'why'"):
        BatchFailed({0: "why"})
    with pytest.raises(TypeError):
        BatchFailed({"0": ValueError()})
    assert str(BatchFailed({4: ValueError("x")})) == "1 of the batch's tasks failed; task 4: " + (
        "ValueError: x"
    )


def test_beside_a_cancelled_task_the_others_run_again():
    stop = {"stop": "cancelled", "cancelled": ["w:2"]}
    found = judged(asyncio.CancelledError(), 0, 0, 0, **stop)
    assert found[0] is RELEASED and isinstance(found[1], Dead) and found[2] is RELEASED


def test_a_timeout_fails_each_by_its_own_attempts():
    found = judged(asyncio.CancelledError(), 0, 2, stop="timeout")
    assert kinds(found) == [Retried, Failed] and found[1].reason == "timeout"


# -- declarations --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "says"),
    [
        ({"batch": 0}, "batch must be a number of tasks from 1 to 10000, got 0"),
        ({"batch": True}, "batch must be a number of tasks from 1 to 10000, got True"),
        ({"batch": "5"}, "batch must be a number of tasks from 1 to 10000, got '5'"),
        ({"batch": 10_001}, "batch must be a number of tasks from 1 to 10000, got 10001"),
        ({"batch": 5, "linger_s": -1}, "linger_s must be at least 0, got -1"),
        ({"linger_s": 1}, "linger_s is for handlers with batch; the one of 't' has none"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(of, says):
    with pytest.raises(ValueError, match=f"^{re.escape(says)}$"):
        handler("t", **of)


def test_the_handler_of_every_type_takes_no_batches():
    with pytest.raises(ValueError, match=r"^batch needs a type of its own"):
        handler("*", batch=5)


def a_dict(data: dict[str, int]): ...
def no_argument(): ...
def a_list(tasks: list[str]): ...
def a_sequence(tasks: "Sequence[str]"): ...  # noqa: F821, UP037 - cannot be evaluated
def anything(tasks: object): ...
def stars(*tasks): ...


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (a_dict, "must take a list of tasks, since it has batch; it takes (data: dict[str, int])"),
        (no_argument, "must take one argument, a list of tasks, since it has batch; it takes ()"),
    ],
)
def test_a_function_that_takes_no_list_is_refused_in_one_line(function, why):
    (entry,) = handlers_of(handler("t", batch=5)(function))
    with pytest.raises(UsageError) as refused:
        Registry().add(entry)
    assert str(refused.value).endswith(why) and "\n" not in str(refused.value)


@pytest.mark.parametrize("function", [a_list, a_sequence, anything, stars])
def test_a_function_that_may_take_a_list_is_a_handler(function):
    (entry,) = handlers_of(handler("t", batch=5)(function))
    Registry().add(entry)


@pytest.mark.parametrize("setting", [{"batch": 5}, {"linger_s": 1.0}])
def test_the_config_makes_no_batches_of_a_handler_that_takes_one_task(setting):
    registry = Registry()
    registry.add(handlers_of(plain)[0])
    policies = Policies(registry, {"plain": TaskConfig(**setting)})
    with pytest.raises(UsageError, match=r"^tasks.plain: batch and linger are for handlers that"):
        policies.batched()
