"""Results that handlers push: a list that nobody reads is bounded, and its losses are said."""

from __future__ import annotations

import logging

from taskrig.broker import Results
from taskrig.broker.queue_commands import MOST_RESULTS
from taskrig.config.load import load_config


def test_results_that_a_full_list_drops_are_said_once(redis_url, redis_client, caplog):
    results = Results(load_config(None, env={}, overrides={"redis.url": redis_url}))
    redis_client.rpush("results:a", *range(MOST_RESULTS - 1))
    with caplog.at_level(logging.WARNING):
        results.push("results:a", b"the last that fits")
        assert caplog.messages == []
        results.push("results:a", b"one more")
        results.push("results:a", b"another")
    [line] = caplog.messages
    assert "results are lost: the list 'results:a' is full" in line
    assert redis_client.llen("results:a") == MOST_RESULTS
