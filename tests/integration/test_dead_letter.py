"""Dead letters: kept byte for byte with their reason, within bounds, and what is cut is counted."""

from __future__ import annotations

from taskrig.admin import DeadLetters, Inspector, waiting_items
from taskrig.broker import Address
from taskrig.broker.stride import SLICE_BYTES
from taskrig.config.load import load_config
from taskrig.task import Outcome


async def bury(queue, outcome, *items, by=None, **settings):
    """Let a worker settle these items so; `by`: one that an earlier call returned."""
    queue.push(*items)
    hand = by or queue.hand(f"w{len(queue.hands)}", **settings)
    while got := await hand.claim(500):
        await hand.settle(outcome, *got, reason="why", error="it said so", type="t")
    return hand


async def test_a_dead_letter_holds_the_bytes_and_all_that_is_known(queue):
    raw = b"\x00\xff{\r\n"
    await bury(queue, Outcome.FAILED, raw)
    (letter,) = queue.dead()
    assert letter[b"raw"] == raw
    assert (letter[b"outcome"], letter[b"reason"]) == (b"failed", b"why")
    assert (letter[b"error"], letter[b"type"]) == (b"it said so", b"t")
    assert (letter[b"worker"], letter[b"deliveries"]) == (b"w0", b"1")
    seconds, _ = queue.redis.time()
    assert abs(float(letter[b"time"]) - seconds) < 60
    queue.assert_conserved()


async def test_the_number_of_dead_letters_is_bounded_and_the_cut_is_counted(queue):
    bounds = {"dead_letters.max": "10", "dead_letters.invalid_max": "0"}
    await bury(queue, Outcome.FAILED, *(b"%d" % n for n in range(50)), **bounds)
    assert [one[b"raw"] for one in queue.dead()] == [b"%d" % n for n in range(40, 50)]
    assert queue.total("dead_trimmed") == 40
    assert queue.total("failed") == 50
    queue.assert_conserved()


async def test_invalid_items_have_a_bound_of_their_own(queue):
    bounds = {"dead_letters.max": "10", "dead_letters.invalid_max": "5"}
    await bury(queue, Outcome.FAILED, *(b"f%d" % n for n in range(8)), **bounds)
    await bury(queue, Outcome.INVALID, *(b"i%d" % n for n in range(200)), **bounds)
    kept = [one[b"raw"] for one in queue.dead()]
    assert [raw for raw in kept if raw.startswith(b"f")] == [b"f%d" % n for n in range(8)]
    assert [raw for raw in kept if raw.startswith(b"i")] == [b"i%d" % n for n in range(195, 200)]
    assert queue.total("dead_trimmed") == 195


async def test_invalid_items_are_bounded_by_bytes_too(queue):
    bounds = {"dead_letters.invalid_max_bytes": "10KiB"}
    await bury(queue, Outcome.INVALID, *(b"%03d" % n + b"x" * 997 for n in range(40)), **bounds)
    assert 8 <= len(queue.dead()) <= 10
    assert queue.dead()[-1][b"raw"].startswith(b"039")
    assert queue.total("invalid") == 40
    queue.assert_conserved()


def letters(queue, beginning):
    """The dead letters whose items begin so, oldest first."""
    return [one[b"raw"] for one in queue.dead() if one[b"raw"].startswith(beginning)]


async def test_failed_letters_and_invalid_ones_each_have_exactly_their_own_bound(queue):
    bounds = {"dead_letters.max": "20", "dead_letters.invalid_max": "10"}
    failed, invalid = [b"f%03d" % n for n in range(140)], [b"i%03d" % n for n in range(140)]
    hand = None
    for at in range(0, 140, 7):
        hand = await bury(queue, Outcome.INVALID, *invalid[at : at + 7], by=hand, **bounds)
        await bury(queue, Outcome.FAILED, *failed[at : at + 4], by=hand)
        await bury(queue, Outcome.DEAD, *failed[at + 4 : at + 7], by=hand)
        assert len(letters(queue, b"f")) == min(20, at + 7)
    assert letters(queue, b"f") == failed[-20:]
    assert letters(queue, b"i") == invalid[-10:]
    assert queue.total("dead_trimmed") == 120 + 130
    assert queue.total("invalid_trimmed") == 130
    queue.assert_conserved()


async def test_old_invalid_items_at_the_front_keep_no_failed_letter_beyond_the_bound(queue):
    bounds = {"dead_letters.max": "10", "dead_letters.invalid_max": "2000"}
    hand = await bury(queue, Outcome.INVALID, *(b"i%04d" % n for n in range(2000)), **bounds)
    for n in range(60):  # one walk passes over a part of the invalid ones
        await bury(queue, Outcome.FAILED, b"f%02d" % n, by=hand)
    assert letters(queue, b"f") == [b"f%02d" % n for n in range(50, 60)]
    assert len(letters(queue, b"i")) == 2000


async def test_large_letters_leave_as_fast_as_they_come(queue):
    bounds = {"dead_letters.max": "5", "worker.max_concurrent": "10"}
    large = [b"f%02d" % n + b"x" * 900_000 for n in range(20)]
    await bury(queue, Outcome.FAILED, *large, **bounds)
    assert [raw[:3] for raw in letters(queue, b"f")] == [b"f%02d" % n for n in range(15, 20)]


async def test_a_bound_of_0_keeps_none(queue):
    bounds = {"dead_letters.max": "0", "dead_letters.invalid_max": "0"}
    await bury(queue, Outcome.FAILED, *(b"f%d" % n for n in range(8)), **bounds)
    await bury(queue, Outcome.INVALID, *(b"i%d" % n for n in range(8)), **bounds)
    assert queue.dead() == []
    assert queue.total("dead_trimmed") == 16
    assert queue.total("invalid_kept_bytes") == 0
    queue.assert_conserved()


async def test_an_invalid_item_larger_than_all_of_them_may_be_is_kept_until_the_next(queue):
    bounds = {"dead_letters.invalid_max_bytes": "100B"}
    await bury(queue, Outcome.INVALID, b"i1" + b"x" * 1000, **bounds)
    assert [raw[:2] for raw in letters(queue, b"i")] == [b"i1"]
    await bury(queue, Outcome.INVALID, b"i2", **bounds)
    assert letters(queue, b"i") == [b"i2"]


async def test_a_bound_that_was_lowered_holds_after_the_next_letters(queue):
    await bury(queue, Outcome.FAILED, *(b"f%04d" % n for n in range(3000)))
    hand = None
    for n in range(3000, 3004):
        hand = await bury(queue, Outcome.INVALID, b"i", by=hand, **{"dead_letters.max": "100"})
        await bury(queue, Outcome.FAILED, b"f%04d" % n, by=hand)
    assert letters(queue, b"f") == [b"f%04d" % n for n in range(2904, 3004)]


async def test_poison_letters_have_the_bound_of_the_failed_ones(queue):
    settings = {"dead_letters.max": "4", "worker.max_deliveries": "1"}
    await bury(queue, Outcome.INVALID, *(b"i%d" % n for n in range(5)), **settings)
    queue.push(*(b"p%d" % n for n in range(12)))
    await queue.hand("doomed", **settings).claim(12)
    queue.lapse("doomed")
    scanner = queue.hand("scanner", **settings)
    await scanner.exchange()
    assert await scanner.scan() == 12
    await scanner.settle(Outcome.DEAD, *(await scanner.claim(12)), reason="poison")
    assert len(letters(queue, b"p")) == 4
    assert len(letters(queue, b"i")) == 5
    assert queue.total("dead_trimmed") == 8


async def test_letters_that_were_requeued_or_deleted_by_hand_leave_room_for_others(queue):
    bounds = {"dead_letters.max": "10"}
    await bury(queue, Outcome.INVALID, b"i", **bounds)
    await bury(queue, Outcome.FAILED, *(b"f%02d" % n for n in range(30)), **bounds)
    queue.redis.xdel(queue.keys.dead, *(one[0] for one in queue.redis.xrange(queue.keys.dead)[1:6]))
    await bury(queue, Outcome.FAILED, *(b"g%d" % n for n in range(5)), **bounds)
    assert len(letters(queue, b"f")) == 5 and len(letters(queue, b"g")) == 5
    queue.redis.delete(queue.keys.dead)
    await bury(queue, Outcome.FAILED, *(b"h%02d" % n for n in range(20)), **bounds)
    assert letters(queue, b"h")[-10:] == [b"h%02d" % n for n in range(10, 20)]
    assert len(queue.dead()) <= 11  # the index still names an invalid item that was deleted by hand


async def test_what_an_older_worker_left_in_the_index_keeps_no_letters_too_many(queue):
    """0.1.0 dropped invalid items by the number of all letters, and left them in the index."""
    bounds = {"dead_letters.max": "10", "dead_letters.invalid_max": "10"}
    await bury(queue, Outcome.INVALID, *(b"i%d" % n for n in range(10)), **bounds)
    queue.redis.xtrim(queue.keys.dead, maxlen=0)
    await bury(queue, Outcome.FAILED, *(b"f%02d" % n for n in range(30)), **bounds)
    assert letters(queue, b"f") == [b"f%02d" % n for n in range(20, 30)]
    assert queue.redis.llen(queue.keys.dead_index) == 0
    assert queue.total("invalid_kept_bytes") == 0


async def test_with_the_rights_of_0_1_0_the_letters_are_bounded_with_the_invalid_ones(queue):
    """Which lack XRANGE: then nothing may break."""
    queue.redis.execute_command("ACL", "SETUSER", "old", "on", ">pw", "~*", "+@all", "-xrange")
    settings = {
        "dead_letters.max": "5",
        "dead_letters.invalid_max": "10",
        "redis.username": "old",
        "redis.password": "pw",
    }
    try:
        hand = await bury(queue, Outcome.INVALID, *(b"i%d" % n for n in range(3)), **settings)
        await bury(queue, Outcome.FAILED, *(b"f%02d" % n for n in range(40)), by=hand)
        assert len(queue.dead()) == 15
        queue.assert_conserved()
    finally:
        queue.redis.execute_command("ACL", "DELUSER", "old")


async def test_looking_at_large_items_behind_small_ones_is_done_in_slices(queue):
    config = load_config(None, env={}, overrides={"redis.url": queue.url})
    operator = Inspector(config, Address(config.redis, config.queue.key, "tests"))
    replies = []
    asked = operator.run
    operator.run = lambda command: replies.append(asked(command)) or replies[-1]
    sizes = [5] * 30 + [100_000] * 30
    await bury(queue, Outcome.FAILED, *(b"x" * size for size in sizes))
    letters = DeadLetters(operator).page({}, 100, oldest_first=True, shown=-1).letters
    assert [letter.size for letter in letters] == sizes
    queue.push(*(b"x" * size for size in sizes))
    assert [item.size for item in waiting_items(operator)] == sizes
    operator.close()
    assert all(weight(reply) < 2 * SLICE_BYTES for reply in replies)


def weight(reply) -> int:
    """The bytes of all items in a reply."""
    items = [letter.start for letter in getattr(reply, "letters", ())] or reply
    return sum(len(str(item)) for item in items) if isinstance(items, list) else 0
