"""The numbers of tags: used once, and known to be open until a reply or a look has told."""

from __future__ import annotations

from taskrig.engine.capacity import Claims


def test_numbers_that_a_reply_did_not_use_are_given_out_again():
    claims = Claims()
    assert claims.begin(10) == 1
    claims.brought(1, 10, 4)
    assert claims.begin(10) == 5


def test_a_number_reserved_while_an_exchange_is_open_is_nobody_elses():
    claims = Claims()
    first = claims.begin(10)
    assert claims.reserve() == 11
    claims.brought(first, 10, 4)
    assert claims.begin(1) == 12


def test_below_the_open_the_lost_and_the_reserved_numbers_every_tag_is_known():
    claims = Claims()
    claims.begin(5)
    claims.brought(1, 5, 5)
    assert claims.begin(5) == 6
    assert claims.below == 6, "the open exchange may bring 6"
    claims.lost.append((6, 5))
    claims.begin(5)
    assert claims.below == 6, "the lost reply may have brought 6"
    claims.lost.clear()
    assert claims.below == 11
    claims.reserved = 8
    assert claims.below == 8, "a claim rides on a blocking move"
