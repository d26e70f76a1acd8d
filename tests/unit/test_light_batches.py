"""How much is settled in one exchange, where tasks leave something behind."""

from __future__ import annotations

import json

from taskrig.engine.aftermath import MOST_BYTES, light
from taskrig.engine.dispositions import SUCCEEDED, Failed, Returned
from taskrig.engine.execution import Execution
from taskrig.task import Delivery, decode


def ended(disposition, outbox=None, **fields):
    raw = json.dumps({"type": "t", **fields}).encode()
    one = Execution(Delivery("w:1", raw), decode(raw), disposition=disposition)
    one.outbox = outbox
    return one


def test_plain_tasks_go_as_many_as_may_go():
    plain = [ended(SUCCEEDED) for _ in range(50)]
    assert light(plain, 40) == plain[:40]


def test_large_results_outboxes_and_follow_ups_go_a_few_at_a_time():
    large = b"x" * (MOST_BYTES // 4)
    follow = [{"type": "t", "data": large.decode()}]
    for one in (
        ended(Returned(large)),
        ended(Returned(b"null"), [("", large)]),
        ended(Failed("error", "e"), otherwise=follow),
    ):
        assert 4 <= len(light([one] * 50, 40)) <= 5


def test_one_that_is_larger_than_all_goes_alone():
    huge = ended(Returned(b"x" * (2 * MOST_BYTES)))
    assert len(light([huge] * 3, 40)) == 1
