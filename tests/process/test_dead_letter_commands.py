"""worker dead list|show|requeue|drop, and what they leave behind."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.processes import environment
from tests.support.typed import typed


def bury(world, count, *, kind="email", reason="error", outcome="failed", raw=None):
    """Put dead letters as the exchange does; invalid ones with their index. Returns their ids."""
    pipe = world.redis.pipeline(transaction=False)
    for index in range(count):
        item = raw or json.dumps({"type": kind, "data": {"i": index}}).encode()
        fields = {
            "raw": item,
            "outcome": outcome,
            "reason": reason,
            "error": "broken",
            "type": kind,
            "deliveries": 1,
            "worker": "w",
            "time": "1760000000.5",
        }
        pipe.xadd(world.keys.dead, fields)
    ids = pipe.execute()
    if outcome == "invalid":
        world.redis.rpush(world.keys.dead_index, *(b"%s %d" % (one, len(item)) for one in ids))
        world.redis.hincrby(world.keys.stats, "invalid_kept_bytes", len(item) * count)
    return [one.decode() for one in ids]


def test_a_failed_task_is_listed_shown_and_requeued_byte_for_byte(world, type_in):
    world.start_worker()
    item = b'{ "type":"raise",\t"data": {"kind":"ValueError", "id": 1.0} ,"x":"\\u00e9\xc3\xa9"}'
    world.push(item)
    world.all_settled()

    [letter] = type_in("dead", "list", as_json=True)["letters"]
    assert (letter["outcome"], letter["reason"], letter["type"]) == ("failed", "error", "raise")
    assert typed("dead", "show", letter["id"], "--raw", "--redis-url", world.url)[1] == item
    assert "ValueError: plain" in type_in("dead", "show", letter["id"])

    type_in("pause")
    assert "requeued 1" in type_in("dead", "requeue", letter["id"])
    assert world.items() == [item]
    assert world.redis.xlen(world.keys.dead) == 0
    assert "not there" in type_in("dead", "requeue", letter["id"], code=1)
    type_in("resume")
    world.accepted += 1
    world.all_settled()


@pytest.mark.parametrize("pop", ["right", "left"])
def test_requeued_tasks_go_to_the_back_in_the_order_in_which_they_died(world, type_in, pop):
    world.redis.rpush(world.keys.queue, b"waits")
    bury(world, 3)
    type_in("dead", "requeue", "--all", "--set", f"queue.pop={pop}")
    items = world.redis.lrange(world.keys.queue, 0, -1)
    in_order = items[::-1] if pop == "right" else items
    assert in_order[0] == b"waits"
    assert [json.loads(one)["data"]["i"] for one in in_order[1:]] == [0, 1, 2]


@pytest.mark.parametrize("command", [("list",), ("requeue",), ("drop", "--yes")])
def test_where_nothing_matches_it_is_said_what_there_is(world, type_in, command):
    bury(world, 3, kind="email")
    bury(world, 1, kind="resize", reason="timeout")
    said = type_in("dead", *command, "--type", "reszie")
    assert "0" in said.partition("\n")[0]
    assert "no dead letter has type 'reszie'; did you mean resize? " in said
    assert "The newest 1,000 have: email (3), resize (1)\n" in said
    said = type_in("dead", *command, "--worker", "x", "--type", "email")
    assert "no dead letter has worker 'x'. The newest 1,000 have: w (4)\n" in said
    said = type_in("dead", *command, "--reason", "timeout", "--type", "email")
    assert "no dead letter has all of these: --type, --reason\n" in said
    assert world.redis.xlen(world.keys.dead) == 4
    world.redis.delete(world.keys.dead)
    assert "have" not in type_in("dead", *command, "--type", "email")


def test_filters_choose_by_type_reason_and_outcome_and_a_dry_run_changes_nothing(world, type_in):
    bury(world, 3, kind="email", reason="timeout")
    bury(world, 4, kind="email", reason="error")
    bury(world, 5, kind="file", reason="error")

    dry = type_in("dead", "requeue", "--type", "email", "--dry-run", as_json=True)
    assert dry == {"act": "requeue", "count": 7, "dry_run": True}
    assert world.redis.xlen(world.keys.dead) == 12
    listed = type_in("dead", "list", "--reason", "error", "--type", "file", as_json=True)
    assert len(listed["letters"]) == 5 and listed["total"] == 12

    assert (
        type_in("dead", "requeue", "--type", "email", "--reason", "error", as_json=True)["count"]
        == 4
    )
    assert type_in("dead", "drop", "--reason", "error", "--yes", as_json=True)["count"] == 5
    assert type_in("dead", "drop", "--outcome", "invalid", "--yes", as_json=True)["count"] == 0
    assert world.redis.xlen(world.keys.dead) == 3
    assert world.redis.llen(world.keys.queue) == 4


def test_invalid_items_leave_their_bound_when_they_are_dropped_or_requeued(world, type_in):
    ids = bury(world, 5, kind="", reason="not_json", outcome="invalid", raw=b"\x9c\xff\x00")
    type_in("dead", "drop", ids[1], ids[3])
    assert world.redis.llen(world.keys.dead_index) == 3
    assert world.totals()["invalid_kept_bytes"] == 9
    type_in("dead", "requeue", "--outcome", "invalid")
    assert world.redis.llen(world.keys.dead_index) == 0
    assert world.totals()["invalid_kept_bytes"] == 0
    assert world.redis.lrange(world.keys.queue, 0, -1) == [b"\x9c\xff\x00"] * 3


def test_a_drop_of_many_without_yes_drops_nothing(world, type_in):
    bury(world, 2)
    assert "--yes" in type_in("dead", "drop", "--all", code=2)
    assert world.redis.xlen(world.keys.dead) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["requeue"], "give ids"),
        (["requeue", "--all", "1-1"], "one kind"),
        (["requeue", "yesterday"], "not an id"),
        (["show", "99999999999999999999-0"], "not an id"),
        (["list", "-n", "0"], "-n"),
        (["lst"], "invalid choice"),
    ],
)
def test_a_wrong_dead_command_is_one_line_and_exit_2(world, type_in, words, says):
    said = type_in("dead", *words, code=2)
    assert says in said and len(said.splitlines()) == 1


def test_a_tasks_text_cannot_steer_the_terminal(world, type_in):
    bury(world, 1, kind="\x1b[2Jred\r\n", raw=b'{"type":"\x1b]0;x\x07"}')
    said = type_in("dead", "list") + type_in("dead", "show", bury(world, 1, kind="\x1b[31m")[0])
    assert "\x1b" not in said and "\\x1b[2Jred" in said


def test_what_dies_again_while_all_is_requeued_is_not_taken_twice(world, type_in):
    world.start_worker()
    bury(world, 2000, raw=b'{"type":"reject","data":{}}')
    world.accepted += 2000
    assert type_in("dead", "requeue", "--all", as_json=True)["count"] == 2000
    world.all_settled()
    assert world.totals()["failed"] == 2000


@pytest.mark.timeout(600)
def test_ever_so_many_dead_letters_are_requeued_in_slices_with_flat_memory(
    world, type_in, soak_count
):
    count = soak_count(30_000, of=1_000_000)
    fill = world.redis.register_script(
        """
        for i = 1, ARGV[1] do
          local raw = '{"type":"note","data":{"i":' .. i .. '}}'
          redis.call('XADD', KEYS[1], '*', 'raw', raw, 'outcome', 'failed',
            'reason', i % 2 == 0 and 'odd' or 'error')
        end
        """
    )
    for _ in range(count // 10000):
        fill(keys=[world.keys.dead], args=[10000])
    few = _peak_of(world, "dead", "requeue", "--reason", "poison", "--dry-run")
    before = _scripts_run(world)
    peak = _peak_of(world, "dead", "requeue", "--all")

    assert world.redis.xlen(world.keys.dead) == 0
    assert world.redis.llen(world.keys.queue) == count
    assert peak - few < 10 * 1024  # KiB
    assert _scripts_run(world) - before >= count / 500  # small slices: Redis is never held long
    counted = type_in("queue", "count", as_json=True)
    assert counted["types"] == {"note": count}


def _scripts_run(world):
    return world.redis.info("commandstats")["cmdstat_evalsha"]["calls"]


def _peak_of(world, *words):
    """The most memory (KiB) of one command, as the kernel has it for a child."""
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run([sys.executable, '-m', 'taskrig', *sys.argv[1:]], check=True,"
        " stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--redis-url", world.url],
        env=environment(),
        cwd=world.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)
