"""A claim parted among lists by weight: whole shares that follow the weights in the long run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskrig.broker.shares import Shares


def shares_of(weights, wants):
    shares = Shares(weights)
    return [[int(one) for one in shares.of(want).split()] for want in wants]


def test_a_large_claim_is_parted_by_the_weights():
    assert shares_of([6, 3, 1], [100]) == [[60, 30, 10]]


def test_claims_of_one_task_follow_the_weights_over_time():
    given_out = shares_of([6, 3, 1], [1] * 10)
    assert [sum(column) for column in zip(*given_out, strict=True)] == [6, 3, 1]
    assert all(sum(row) == 1 for row in given_out)


def test_a_claim_of_no_task_has_no_shares():
    assert Shares([2, 1]).of(0) == ""


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=16),
    st.lists(st.integers(1, 1000), min_size=1, max_size=60),
)
def test_whatever_is_wanted_is_given_out_and_no_list_is_owed_a_task_for_long(weights, wants):
    rows = shares_of(weights, wants)
    assert [sum(row) for row in rows] == wants
    for weight, column in zip(weights, zip(*rows, strict=True), strict=True):
        assert min(column) >= 0
        assert abs(sum(column) - sum(wants) * weight / sum(weights)) < len(weights) + 1
