"""Contenders are measured in turns, and none is always first."""

from __future__ import annotations

from benchmarks.peers.rounds import MeasureFailed, interleave, rotated


def test_every_round_is_started_by_another_contender() -> None:
    assert [rotated("abc", turn)[0] for turn in range(4)] == ["a", "b", "c", "a"]
    assert rotated("abc", 1) == ["b", "c", "a"]
    assert rotated([], 3) == []


def test_each_contender_is_measured_once_a_round() -> None:
    order: list[str] = []

    def measure(name: str) -> float:
        order.append(name)
        return float(len(order))

    found = interleave(["a", "b"], 3, measure)

    assert order == ["a", "b", "b", "a", "a", "b"]
    assert found["a"].values == [1.0, 4.0, 5.0]
    assert found["a"].median == 4.0
    assert found["a"].spread == (1.0, 5.0)


def test_a_contender_that_fails_does_not_end_the_rounds() -> None:
    def measure(name: str) -> float:
        if name == "broken":
            raise MeasureFailed("it does not start")
        return 1.0

    found = interleave(["broken", "whole"], 2, measure)

    assert found["broken"].median is None
    assert found["broken"].failures == ["it does not start"] * 2
    assert found["whole"].values == [1.0, 1.0]
