"""Dead letters: kept byte for byte with their reason, within bounds, and what is cut is counted."""

from __future__ import annotations

from worker.task import Outcome


async def bury(queue, outcome, *items, **settings):
    queue.push(*items)
    hand = queue.hand(f"w{len(queue.hands)}", **settings)
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
