"""What a load meets that is not for tests is told and asked; the demo is no question."""

from __future__ import annotations

import argparse

import pytest

from taskrig.authoring.registry import load_handlers
from taskrig.errors import UsageError
from taskrig_loadgen.cli.asking import ask_first, worth_asking
from taskrig_loadgen.queueview import QueueView, Worker

DEMO = ("*", "fast_task", "medium_task", "noop", "slow_task")


def seen(*workers: Worker, waiting: int = 0) -> QueueView:
    return QueueView(1.0, waiting, 0, 0, 0, False, {}, workers)


def a_worker(types: tuple[str, ...] | None, tests: tuple[str, ...] | None) -> Worker:
    return Worker("w", "h", 1, 5, 0, types=types, test_types=tests)


@pytest.mark.parametrize(
    ("view", "mix", "said"),
    [
        (seen(), ["pay"], ""),
        (seen(a_worker(DEMO, DEMO)), ["fast_task", "anything"], ""),
        (seen(a_worker(("pay", *DEMO[1:]), DEMO[1:])), ["fast_task", "slow_task"], ""),
        (seen(a_worker(("pay", "fast_task"), ("fast_task",))), ["fast_task", "pay"], "'pay' run"),
        (seen(a_worker(("pay",), ())), ["unknown"], ""),  # a dead letter: nothing runs
        (seen(a_worker(("*", "pay"), ())), ["unknown"], "'unknown' run real handlers"),
        (seen(a_worker(None, ())), ["any"], "'any' run"),  # too many types to tell them
        (seen(a_worker(("fast_task",), ())), ["fast_task"], "'fast_task' run"),  # its own of it
        (seen(a_worker(("pay", "fast_task"), None)), ["pay"], "'pay' run"),  # an older worker
        (seen(a_worker(("pay", "fast_task"), None)), ["fast_task"], ""),
        (seen(a_worker(DEMO, DEMO), waiting=7), ["noop"], "7 tasks of others wait"),
        (seen(waiting=7), ["noop"], ""),
        (seen(a_worker(None, None), waiting=7), ["pay"], ""),  # it tells nothing of itself
    ],
)
def test_real_handlers_and_waiting_tasks_of_others_are_worth_a_question(view, mix, said):
    why = worth_asking(view, mix, "q")
    assert said in why
    assert bool(why) == bool(said)


async def test_without_a_terminal_nothing_is_sent_unless_yes_was_said(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    asked = ask_first(argparse.Namespace(yes=False), ["pay"], "q")
    with pytest.raises(UsageError, match=r"'q' has 1 live worker: 'pay' run .*; add --yes"):
        await asked(seen(a_worker(("pay",), ())))
    await asked(seen(a_worker(DEMO, DEMO)))
    assert ask_first(argparse.Namespace(yes=True), ["pay"], "q") is None


def test_the_demos_handlers_and_dry_runs_are_for_tests():
    entries = load_handlers(["taskrig.handlers.demo"]).entries()
    assert {entry.type for entry in entries if entry.is_test} == set(DEMO)
    own = load_handlers(["tests.support.plain_handler"]).entries()
    assert not any(entry.is_test for entry in own)
