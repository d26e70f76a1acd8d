"""What the parent of several worker processes leaves behind when it ends: nothing."""

from __future__ import annotations

import threading

from taskrig.config.load import load_config
from taskrig.process.family import Family


def threads():
    return {one for one in threading.enumerate() if one.is_alive()}


def test_the_status_page_of_a_family_ends_with_it():
    before = threads()
    config = load_config(None, env={}, overrides={"redis.url": "redis://127.0.0.1:1/0"})
    http = config.http.model_copy(update={"port": 0})
    family = Family(config.model_copy(update={"http": http}))
    family.start()
    family.close()
    for one in threads() - before:
        one.join(20)
    assert threads() <= before
