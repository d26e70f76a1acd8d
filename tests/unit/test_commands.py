"""Commands are encoded exactly as a general client encodes them."""

from __future__ import annotations

import pytest
from redis.connection import Connection

from taskrig.broker.commands import command, run_script
from taskrig.broker.exchange import ExchangeCommands
from taskrig.broker.queue_commands import QueueCommands
from taskrig.broker.scripts import EXCHANGE, LEAVE
from taskrig.config.load import load_config
from taskrig.task import Outcome, Settlement

PARTS = ("SET", b"\x00\xff\r\n", 0, -7, 1_000_000_000_000, 2.5, "", "schlüssel", "{q}:x")


def packed(*parts: object) -> bytes:
    return b"".join(Connection().pack_command(*parts))  # type: ignore[no-untyped-call]


def test_a_command_is_encoded_as_redis_py_encodes_it() -> None:
    assert command(*PARTS).data == packed(*PARTS)


def test_a_script_is_called_by_its_hash_and_taught_by_its_text() -> None:
    leave = run_script(LEAVE, ("a", "b"), "w1", 7)

    assert leave.data == packed(b"EVALSHA", LEAVE.sha, 2, "a", "b", "w1", 7)
    assert leave.teaching().data == packed(b"EVAL", LEAVE.text, 2, "a", "b", "w1", 7)


def test_an_exchange_says_how_many_arguments_it_has() -> None:
    config = load_config(None, env={}, sets=["queue.key=q"])
    settled = ["w1:1", "w1:22", Settlement("w1:3", Outcome.FAILED, "e", "error", "ü")]
    turn = ExchangeCommands(config, "w1").turn(settled, 10, 1234, 2, True)
    parts = turn.data.split(b"\r\n")

    assert turn.data.startswith(b"*") and int(parts[0][1:]) == sum(p[:1] == b"$" for p in parts)
    assert turn.data == packed(*parts[2::2])  # each argument once more, by its bytes
    assert parts[4] == EXCHANGE.sha
    assert parts[2::2][-12:] == [
        *(b"2", b"w1:1", b"w1:22", b"failed", b"w1:3", b"e", b"error", "ü".encode()),
        *(b"", b"", b"", b"0"),
    ]


def test_what_is_asked_of_a_queue_needs_no_connection() -> None:
    commands = QueueCommands(load_config(None, env={}, sets=["queue.key=q"]))

    assert commands.item("w1:1").data == packed("HGET", "{q}:inflight", "w1:1")


@pytest.mark.parametrize("odd", [None, True, ["x"]])
def test_an_argument_that_redis_has_no_type_for_is_refused(odd: object) -> None:
    with pytest.raises(TypeError):
        command("SET", odd)
