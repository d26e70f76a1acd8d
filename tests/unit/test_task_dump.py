"""Where handlers stand, as SIGUSR1 has it told."""

from __future__ import annotations

import threading
import time

from taskrig.engine.execution import Execution
from taskrig.engine.task_dump import standing
from taskrig.process import signals
from taskrig.runtime import early
from taskrig.task import Delivery


def called_from(module, name):
    """A function that stands in the file of this module, and calls what it is given."""
    space = {}
    exec(compile(f"def {name}(*called): called[0](*called[1:])", module.__file__, "exec"), space)
    return space[name]


def test_what_interrupts_a_handler_only_to_ask_where_it_stands_is_no_part_of_the_answer():
    arrived, received = called_from(early, "_arrived"), called_from(signals, "_received")
    reached, release = threading.Event(), threading.Event()

    def last():
        reached.set()
        release.wait(20)

    def some_handler():
        arrived(received, last)

    thread = threading.Thread(target=some_handler)
    thread.start()
    assert reached.wait(20)
    execution = Execution(Delivery("w:1", b""), started=time.monotonic(), thread=thread)
    [told] = standing([execution], None)
    release.set()
    thread.join()
    assert "some_handler" in told and "last" in told
    assert "_arrived" not in told and "_received" not in told
