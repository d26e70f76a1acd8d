"""Kept threads: what is called when one ends."""

from __future__ import annotations

import threading
from contextvars import copy_context

from taskrig.engine import threads
from taskrig.engine.execution import Execution
from taskrig.engine.threads import Call, Threads
from taskrig.task import Delivery
from tests.support.waiting import until_async


def call_of(function, done):
    return Call(Execution(Delivery("w:1", b"")), function, (), copy_context(), done)


async def test_a_thread_that_has_idled_for_its_time_closes_what_it_keeps(monkeypatch):
    monkeypatch.setattr(threads, "IDLE_S", 0.02)
    ran, closed = [], []
    pool = Threads(lambda: closed.append(threading.current_thread().name))
    pool.submit(call_of(lambda: ran.append(threading.current_thread().name), lambda *_: None))
    await until_async(lambda: closed)
    assert closed == ran == ["task-1"]


async def test_threads_close_what_they_keep_when_the_pool_ends_but_for_one_that_is_stuck():
    ended, stuck, closed = [], threading.Event(), []
    pool = Threads(lambda: closed.append(threading.current_thread().name))
    pool.submit(call_of(stuck.wait, lambda *_: None))
    pool.submit(call_of(lambda: None, lambda *_: ended.append(1)))
    await until_async(lambda: ended)
    await pool.close()
    assert len(closed) == 1
    stuck.set()
