"""The mix: its order, its ratio, its errors."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskrig.errors import UsageError
from taskrig_loadgen.load.mix import Mix, mix_of, near_miss, parse_mix

weights = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def a_mix(counts: list[int]) -> Mix:
    return Mix(tuple((f"t{n}", count) for n, count in enumerate(counts)))


def test_the_cards_mix_is_always_interleaved_in_the_same_order():
    mix = parse_mix("fast=3,medium=2,slow=2")
    order = [mix.types[kind].split("_")[0] for kind in mix.once()]
    assert order == ["fast", "medium", "slow", "fast", "medium", "slow", "fast"]


def test_short_names_become_types_and_other_names_stay():
    assert parse_mix("fast=1,medium=1,slow=1,email.send=1").types == (
        "fast_task",
        "medium_task",
        "slow_task",
        "email.send",
    )


def test_a_type_may_hold_an_equals_sign_and_spaces_around_parts_are_ignored():
    assert parse_mix(" a=b=2 , c = 1 ").counts == (("a=b", 2), ("c", 1))


def test_a_zero_leaves_a_type_out():
    assert parse_mix("fast=0,slow=1").counts == (("slow_task", 1),)


@given(weights)
def test_a_mix_pushed_once_holds_each_type_exactly_as_often_as_asked(counts):
    assert Counter(a_mix(counts).once()) == dict(enumerate(counts))


@given(weights)
def test_every_whole_cycle_keeps_the_ratio_exactly(counts):
    mix = a_mix(counts)
    cycle = mix.reduced().total
    tasks = list(islice(mix.endless(), 3 * cycle))
    expected = {n: count for n, (_, count) in enumerate(mix.reduced().counts)}
    for start in range(0, 3 * cycle, cycle):
        assert Counter(tasks[start : start + cycle]) == expected


def test_shuffled_blocks_keep_the_ratio_and_are_as_good_as_independent():
    mix = parse_mix("a=1,b=1,c=2")
    tasks = list(islice(mix.endless(shuffle_seed=1), 3000))
    for start in range(0, 3000, 1000):
        assert Counter(tasks[start : start + 1000]) == {0: 250, 1: 250, 2: 500}
    pairs = Counter(pairwise(tasks))
    assert pairs[2, 2] / 2999 == pytest.approx(0.25, abs=0.03)  # a shuffled cycle has 0.19


@given(weights)
def test_no_type_runs_ahead_of_its_share_by_a_whole_task_per_type(counts):
    mix = a_mix(counts)
    seen: Counter[int] = Counter()
    for number, kind in enumerate(mix.once(), start=1):
        seen[kind] += 1
        for other, count in enumerate(counts):
            assert abs(seen[other] - number * count / mix.total) < max(1, len(counts) - 1)


def test_the_same_seed_shuffles_the_same_way_and_another_does_not():
    mix = parse_mix("a=20,b=20")
    first, again, other = (list(islice(mix.endless(shuffle_seed=s), 200)) for s in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("fast", "has no count"),
        ("fast=-1", "must be 0 or more, got -1"),
        ("=3", "a type is missing"),
        ("fast=1,fast=2", "given twice"),
        ("fast=1,fast_task=2", "given twice"),
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("fast=0,slow=0", "every count is 0"),
        ("fast=1,,slow=2", "entry 2 is empty"),
        ("fast=1,", "entry 2 is empty"),
        ("fast=", "must be a whole number, got ''"),
        ("fast=1.5", "must be a whole number, got '1.5'"),
        ("fast=ten", "must be a whole number, got 'ten'"),
        ("fast=99999999999", "at most"),
        ("x" * 257 + "=1", "257 bytes"),
        ("\ud800=1", "not valid text"),
        ("a=1,all=1", "'all' stands for all types together"),
    ],
)
def test_a_bad_mix_is_one_line_that_says_what_is_wrong(text, why):
    with pytest.raises(UsageError) as raised:
        parse_mix(text)
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 250


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("fast=3;slow=2", "fast=3,slow=2"),
        ("fast=3 slow=2", "fast=3,slow=2"),
        ("fast=3\nslow=2", "fast=3,slow=2"),
        ("fast=3|slow=2", "fast=3,slow=2"),
        ("fast=3&slow=2", "fast=3,slow=2"),
        ("fast=3/slow=2", "fast=3,slow=2"),
        ("fast:3;slow=2", "fast=3,slow=2"),
        ("FAST=3;Slow_Task=2", "fast=3,slow_task=2"),
        ("a=1,b=2;c=3", "a=1,b=2,c=3"),
        ("fast=3,,slow=2", "fast=3,slow=2"),
        ("fast=3,", "fast=3"),
        ("fast:3", "fast=3"),
        ("fast 3", "fast=3"),
        ("fast*3", "fast=3"),
        ("fast==3", "fast=3"),
        ("fast=>3", "fast=3"),
        ('{"fast": 3, "slow": 2}', "fast=3,slow=2"),
        ("fast=1e3", "fast=1000"),
        ("fast=3.0", "fast=3"),
        ("fast=2k", "fast=2000"),
        ("fast=1_000", "fast=1000"),
        ("fast=1,000", "fast=1000"),
        ("fast=\uff13", "fast=3"),  # a full-width digit, equals sign, comma: typed in Chinese
        ("fast\uff1d3", "fast=3"),
        ("fast=3\uff0cslow=2", "fast=3,slow=2"),
        ("fast=3\u3001slow=2", "fast=3,slow=2"),
        ("fast=3\uff1bslow=2", "fast=3,slow=2"),
        ("fast=3,fast_task=2", "fast=5"),
        ("fast_task=3,slow=1,fast=2", "fast_task=5,slow=1"),
    ],
    ids=ascii,
)
def test_a_mix_in_another_form_is_refused_and_the_right_form_is_shown(text, right):
    with pytest.raises(UsageError, match=f"did you mean {right}\\?") as raised:
        parse_mix(text)
    assert "\n" not in str(raised.value)
    parse_mix(right)


@pytest.mark.parametrize("text", ["fast=1.5", "fast=-1", "a=b", "fast=0;slow=0", "fast=1e99", "3"])
def test_a_mix_that_cannot_be_guessed_is_refused_without_a_guess(text):
    with pytest.raises(UsageError) as raised:
        parse_mix(text)
    assert "did you mean" not in str(raised.value)


def test_odd_names_of_types_are_names():
    for name in ("a=b", "job 7", "urn:1:x", "a;b", "a/b", "a\u3001b"):
        assert parse_mix(f"{name}=3").counts == ((name, 3),)


@pytest.mark.parametrize("text", ["a" * 10_000, "a 1 " * 5000 + "=", "a=1;" * 5000, "=" * 9999])
def test_a_long_mix_is_refused_quickly(text):
    with pytest.raises(UsageError):
        parse_mix(text)


def test_a_mapping_from_a_file_is_checked_in_the_same_way():
    assert mix_of({"fast": 2}, "load.yaml:3").counts == (("fast_task", 2),)
    for bad in ({"fast": "x"}, {"fast": -1}, {"fast": True}, {"": 1}, {"a": 0}):
        with pytest.raises(UsageError, match=r"load\.yaml:3"):
            mix_of(bad, "load.yaml:3")


def test_a_misspelt_type_is_recognised_and_another_name_is_not():
    assert near_miss("fsat", []) == "fast"
    assert near_miss("slow_tsk", []) == "slow_task"
    assert near_miss("FAST", []) == "fast"
    assert near_miss("Slow_Task", []) == "slow_task"
    assert near_miss("\uff26\uff21\uff33\uff34", []) == "fast"  # full-width letters
    assert near_miss("EMAIL", ["email"]) == "email"
    assert near_miss("resize", ["email", "resizes"]) == "resizes"
    assert near_miss("invoice", ["email"]) is None
