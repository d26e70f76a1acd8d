"""Kept threads: what is called when one ends."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from contextvars import copy_context
from functools import partial

import pytest

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


async def test_calls_that_wait_for_each_other_all_run_at_once():
    barrier, ended = threading.Barrier(50, timeout=30), []
    pool = Threads()
    for turn in (1, 2):  # with new threads, and with kept ones
        for _ in range(50):
            pool.submit(call_of(barrier.wait, lambda _, fault: ended.append(fault)))
        await until_async(lambda wanted=50 * turn: len(ended) == wanted)
    assert ended == [None] * 100


async def test_calls_run_one_after_another_where_no_more_threads_are_to_be_had(monkeypatch):
    start, started, ended = threading.Thread.start, [], []

    def refuse_the_second(thread):
        started.append(thread)
        if len(started) > 1:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_the_second)
    pool = Threads()
    for _ in range(100):
        pool.submit(call_of(lambda: time.sleep(0.001), lambda _, fault: ended.append(fault)))
    await until_async(lambda: ended == [None] * 100)
    assert len(started) > 1


async def test_the_first_call_says_that_no_thread_is_to_be_had(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        Threads().submit(call_of(lambda: None, lambda *_: None))


async def test_no_call_is_lost_or_run_twice_while_threads_idle_out_and_are_roused(monkeypatch):
    monkeypatch.setattr(threads, "IDLE_S", 0.0005)
    ran, ended, dice = [], [], random.Random(7)
    pool = Threads(lambda: None)
    wanted = 0
    for _ in range(400):
        for _ in range(dice.randint(1, 20)):
            short = dice.random() < 0.8
            body = (lambda n=wanted: ran.append(n)) if short else partial(_later, ran, wanted)
            pool.submit(call_of(body, lambda _, fault: ended.append(fault)))
            wanted += 1
        await asyncio.sleep(dice.choice([0, 0.0004, 0.0006, 0.001]))
    await until_async(lambda: len(ended) == wanted)
    assert sorted(ran) == list(range(wanted))
    assert set(ended) == {None}
    await pool.close()


def _later(ran, number):
    time.sleep(0.0005)
    ran.append(number)
