"""Unique tasks: a mark follows the one that waits or runs, and nothing pushed later is lost."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from taskrig.task import Delivery, Outcome
from tests.support.brokers import Hand

START, HOLD, DUPLICATE = 1, 0, 2
MARKS, IDS = "{async_tasks}:marks", "{async_tasks}:unique:kind"
UNIQUE = ("kind", -1, 0, 0, 0, 1)


def task(number, id_="x"):
    return json.dumps({"type": "kind", "data": number, "id": id_}).encode()


async def ask(hand: Hand, *deliveries: Delivery, waits: bool = False, look: bool = False):
    """The gate's verdicts on these, which want to start, or with `waits` to wait elsewhere."""
    rows = [
        (1, d.tag, 0 if d.returned else d.position, int(waits), json.loads(d.raw)["id"])
        for d in deliveries
    ]
    gate = hand.commands.gate(10, [(*UNIQUE, "0" if look else "")], [], rows)
    verdicts, _ = await hand.run(gate)
    return verdicts


async def claim_one(hand):
    [one] = await hand.claim(1)
    return one


async def test_one_that_waits_for_its_time_has_its_id_until_it_has_ended(queue):
    hand, other = queue.hand("w1"), queue.hand("w2")
    queue.push(task(1), task(2))
    first, second = await claim_one(hand), await claim_one(other)
    assert await ask(hand, first, waits=True) == [HOLD]
    await hand.settle(Outcome.DELAYED, first, reason="1")  # due at once
    assert await ask(other, second) == [DUPLICATE]
    await other.settle(Outcome.DEAD, second, reason="duplicate")

    queue.push(task(3))
    back, third = await other.claim(2)
    assert (back.returned, json.loads(third.raw)["data"]) == (True, 3)
    assert await ask(other, third, back) == [DUPLICATE, START]
    await other.settle(Outcome.SUCCEEDED, back)
    assert not queue.redis.exists(MARKS, IDS)


@pytest.mark.parametrize(
    ("outcome", "more"),
    [(Outcome.RETRIED, {"reason": "0"}), (Outcome.HELD, {"type": "kind", "reason": "back"})],
)
async def test_one_that_is_retried_or_held_keeps_its_id(queue, outcome, more):
    hand = queue.hand()
    queue.push(task(1), task(2))
    first, second = await hand.claim(2)
    assert await ask(hand, first) == [START]
    await hand.settle(outcome, first, **more)
    assert await ask(hand, second) == [DUPLICATE]


async def test_what_a_dead_worker_ran_keeps_its_id_while_it_lies_there_to_be_run_again(queue):
    doomed, other = queue.hand("doomed"), queue.hand("other")
    queue.push(task(1), task(2))
    assert await ask(doomed, await claim_one(doomed)) == [START]
    second = await claim_one(other)
    queue.lapse("doomed")
    await other.exchange()
    assert await other.scan() == 1
    assert len(queue.redeliver()) == 1
    assert await ask(other, second, look=True) == [DUPLICATE]
    await other.settle(Outcome.DEAD, second, reason="duplicate")
    again = await claim_one(other)
    assert await ask(other, again) == [START]
    await other.settle(Outcome.SUCCEEDED, again)
    assert not queue.redis.exists(MARKS, IDS)


async def test_when_a_poison_task_has_died_its_duplicates_are_dead_and_a_later_one_runs(queue):
    doomed, other = queue.hand("doomed"), queue.hand("other", **{"worker.max_deliveries": "1"})
    queue.push(task(1), task(2))
    assert await ask(doomed, await claim_one(doomed)) == [START]
    queue.lapse("doomed")
    await other.exchange()
    assert await other.scan() == 1
    await other.settle(Outcome.DEAD, await claim_one(other), reason="poison")
    assert not queue.redis.exists(MARKS, IDS)
    queue.push(task(3))
    assert await ask(other, *(await other.claim(2))) == [DUPLICATE, START]


async def test_what_goes_back_to_the_queue_has_its_id_no_more(queue):
    hand, other = queue.hand("w1"), queue.hand("w2")
    queue.push(task(1), task(2))
    first, second = await claim_one(hand), await claim_one(other)
    assert await ask(hand, first) == [START]
    await hand.settle(Outcome.RELEASED, first)
    assert not queue.redis.exists(MARKS, IDS)
    assert await ask(other, second) == [START]
    assert await ask(hand, await claim_one(hand)) == [DUPLICATE]


async def test_a_worker_that_lost_its_claim_gets_no_id(queue):
    hand = queue.hand()
    queue.push(task(1))
    first = await claim_one(hand)
    queue.redis.hdel(queue.keys.inflight, first.tag)
    assert await ask(hand, first) == [HOLD]
    assert not queue.redis.exists(MARKS, IDS)


async def test_a_mark_of_a_task_that_was_removed_by_hand_goes_at_a_look(queue):
    hand = queue.hand()
    queue.redis.hset(MARKS, "gone:1", "kind x")
    queue.redis.hset(IDS, "x", "gone:1")
    queue.redis.lpush(queue.keys.redeliver, "gone:1:1:0|" + task(1).decode())
    await ask(hand, look=True)
    assert queue.redis.exists(MARKS, IDS) == 2, "it may be what waits there"
    queue.redis.delete(queue.keys.redeliver)
    await ask(hand, look=True)
    assert not queue.redis.exists(MARKS, IDS)


async def test_ids_of_any_text_are_kept_apart(queue):
    hand = queue.hand()
    odd = ["a b", "a", "", "a:1|2", "a\x00b", "任务", "a\nb", "%2A", "x" * 5000]
    queue.push(*(task(n, id_) for n, id_ in enumerate(odd)))
    got = await hand.claim(20)
    assert await ask(hand, *got) == [START] * len(odd)
    await hand.settle(Outcome.SUCCEEDED, *got)
    assert not queue.redis.exists(MARKS, IDS)


@dataclass
class Known:
    """What a model knows of one pushed task."""

    id: str
    pushed: int
    ended: int | None = None
    state: str = "queued"  # queued, claimed, waits, runs, dead, done


@dataclass
class Model:
    """Which tasks wait or run, so what the gate must say; time is counted in steps."""

    known: dict[int, Known] = field(default_factory=dict)
    step: int = 0

    def expected(self, number: int) -> int:
        one = self.known[number]
        if one.state in ("waits", "again"):
            return START
        others = [k for k in self.known.values() if k.id == one.id and k is not one]
        lives = any(k.state in ("runs", "waits", "again") for k in others)
        ended_later = any(k.ended is not None and k.ended > one.pushed for k in others)
        return DUPLICATE if lives or ended_later else START


LEAVE = [
    Outcome.SUCCEEDED,
    Outcome.FAILED,
    Outcome.RETRIED,
    Outcome.DELAYED,
    Outcome.HELD,
    Outcome.RELEASED,
]


FOR_LONG = {"worker.lease_s": "60s", "worker.max_deliveries": "100"}


class Actors:
    """Three workers that do at random what workers do, and the model beside them."""

    def __init__(self, queue, chance) -> None:
        self.queue, self.chance, self.model = queue, chance, Model()
        self.hands = [queue.hand(f"w{n}", **FOR_LONG) for n in range(3)]
        self.asking: dict[Hand, list[Delivery]] = {hand: [] for hand in self.hands}
        self.running: dict[Hand, list[Delivery]] = {hand: [] for hand in self.hands}
        self.verdicts: Counter[int] = Counter()

    def push(self):
        model = self.model
        for _ in range(self.chance.randrange(1, 6)):
            number = len(model.known)
            model.known[number] = Known(self.chance.choice("abc"), model.step)
            self.queue.push(task(number, model.known[number].id))
        if self.chance.random() < 0.3:
            self.queue.push(b"no task")

    async def claim(self, hand):
        for one in await hand.claim(self.chance.randrange(1, 4)):
            if one.raw == b"no task":
                await hand.settle(Outcome.INVALID, one, reason="not_json")
                continue
            known = self.model.known[json.loads(one.raw)["data"]]
            known.state = "again" if known.state == "waits" else "claimed"
            assert one.returned == (known.state == "again")
            self.asking[hand].append(one)

    async def ask(self, hand):
        asking, self.asking[hand] = self.asking[hand], []
        for one in asking:
            number = json.loads(one.raw)["data"]
            expected = self.model.expected(number)
            [verdict] = await ask(hand, one)
            known = self.model.known[number]
            behind = verdict == HOLD and not one.returned  # fresh ones stand behind held ones
            assert (START if behind else verdict) == expected, (number, self.model.known)
            self.verdicts[expected] += 1
            if behind:
                known.state = "waits"
                await hand.settle(Outcome.HELD, one, type="kind", reason="back")
            elif expected == START:
                known.state = "runs"
                self.running[hand].append(one)
            else:
                known.state = "dead"
                await hand.settle(Outcome.DEAD, one, reason="duplicate")

    async def end(self, hand):
        if not self.running[hand]:
            return
        one = self.running[hand].pop(self.chance.randrange(len(self.running[hand])))
        known, outcome = self.model.known[json.loads(one.raw)["data"]], self.chance.choice(LEAVE)
        first = not one.deliveries and not one.attempts
        more = {
            Outcome.RETRIED: {"reason": "0"},
            Outcome.DELAYED: {"reason": "1"},
            Outcome.HELD: {"type": "kind", "reason": "back"},
        }.get(outcome, {})
        await hand.settle(outcome, one, **more)
        if outcome is Outcome.RELEASED and first:
            known.state = "queued"
        elif outcome in (Outcome.SUCCEEDED, Outcome.FAILED):
            known.state, known.ended = "done", self.model.step
        else:
            known.state = "waits"

    async def die(self, number):
        """A worker dies with what it runs; what it has not asked about yet it settles before."""
        hand = self.hands[number]
        await self.ask(hand)
        for one in self.running[hand]:
            self.model.known[json.loads(one.raw)["data"]].state = "waits"
        self.queue.redis.zadd(self.queue.keys.workers, {hand.id: 1})
        other = self.hands[(number + 1) % 3]
        await other.exchange()
        await other.scan()
        self.queue.redis.delete(self.queue.keys.reclaiming)  # the next scanner may be another
        self.running[hand], hand.held = [], []


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_three_workers_do_each_verdict_is_what_the_pushes_and_ends_ask_for(
    queue, seed
):
    chance = random.Random(seed)
    actors = Actors(queue, chance)
    for step in range(1, 400):
        actors.model.step = step
        hand = chance.choice(actors.hands)
        act = chance.choices(["push", "claim", "ask", "end", "die"], [3, 5, 5, 4, 0.2])[0]
        if act == "push":
            actors.push()
        elif act == "die":
            await actors.die(chance.randrange(3))
        else:
            await getattr(actors, act)(hand)
    assert actors.verdicts[START] > 20 and actors.verdicts[DUPLICATE] > 20, actors.verdicts
