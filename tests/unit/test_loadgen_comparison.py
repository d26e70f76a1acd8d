"""Comparing: the statistics against scipy and by hand, and the three answers."""

from __future__ import annotations

import json
import random
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from taskrig_loadgen.analysis.comparison import (
    approximate_p,
    bootstrap_ratio,
    compare,
    mann_whitney_p,
)
from taskrig_loadgen.cli import main
from taskrig_loadgen.cli.ab import is_higher_better, order
from taskrig_loadgen.result.store import save
from tests.support.results import a_result


def runs(rng: random.Random, mean: float, count: int = 12, noise: float = 0.05) -> list[float]:
    return [rng.gauss(mean, noise * mean) for _ in range(count)]


@pytest.mark.parametrize(
    ("a", "b", "p"),
    [
        ([1, 2, 3, 4, 5], [6, 7, 8, 9, 10], 2 / 252),
        ([1, 2, 3], [4, 5, 6], 0.1),
        ([1, 4, 5], [2, 3, 6], 1.0),
        ([5, 5, 5], [5, 5, 5], 1.0),
        ([0, 0, 0, 0, 0], [1, 1, 1, 1, 1], 2 / 252),
        ([1, 1, 2, 2, 2], [3, 3, 3, 4, 4], 2 / 252),
    ],
)
def test_the_probability_of_small_samples_is_exact(a, b, p):
    assert mann_whitney_p(a, b) == pytest.approx(p)


# What scipy 1.17.1 says of the samples below: mannwhitneyu(..., alternative="two-sided") with
# method="exact", and with method="asymptotic" of the samples rounded to two digits (ties).
SCIPY = [
    (5, 0.32900432900432897, 0.4070160272713742),
    (8, 0.7429864253393665, 0.6989035867151021),
    (12, 0.007979539641943733, 0.007956242368322597),
    (30, 0.0005352636298080966, 0.0006966387748052891),
]


def test_the_probability_agrees_with_scipy():
    rng = random.Random(4)
    for count, exact, asymptotic in SCIPY:
        a, b = runs(rng, 1.0, count), runs(rng, 1.05, count + 1)
        assert mann_whitney_p(a, b) == pytest.approx(exact, rel=1e-9)
        tied = [round(x, 2) for x in a], [round(x, 2) for x in b]
        assert approximate_p(*tied) == pytest.approx(asymptotic, rel=1e-6)


def test_with_ties_the_probability_is_that_of_all_ways_to_split_the_runs():
    """Counted one by one here; with ties the approximation never comes below 1 % at 5 and 5."""
    rng = random.Random(6)
    for _ in range(20):
        values = [rng.randint(1, 4) for _ in range(10)]
        ranks = [2 * sum(y < x for y in values) + values.count(x) + 1 for x in values]
        far = abs(sum(ranks[:5]) - 55)
        splits = [abs(sum(ranks[n] for n in split) - 55) for split in combinations(range(10), 5)]
        share = sum(distance >= far for distance in splits) / len(splits)
        assert mann_whitney_p(values[:5], values[5:]) == pytest.approx(share)
    clear = [1.0, 1.0, 2.0, 2.0, 2.0], [3.0, 3.0, 3.0, 4.0, 4.0]
    assert compare("t", *clear).answer == "worse"
    assert approximate_p(*clear) > 0.009


def test_a_bootstrap_interval_holds_the_ratio_about_as_often_as_it_says():
    rng = random.Random(9)
    held = 0
    for seed in range(60):
        low, high = bootstrap_ratio(runs(rng, 1.0), runs(rng, 1.1), seed=seed)
        held += low <= 1.1 <= high
    assert held >= 52


def test_a_against_a_shows_no_difference_at_least_eighteen_times_of_twenty():
    rng = random.Random(1)
    answers = [compare("t", runs(rng, 1), runs(rng, 1)).answer for _ in range(20)]
    assert answers.count("no difference shown") >= 18


def test_a_slow_down_of_a_tenth_is_found_at_least_eighteen_times_of_twenty():
    rng = random.Random(2)
    answers = [compare("t", runs(rng, 1), runs(rng, 1.1)).answer for _ in range(20)]
    assert answers.count("worse") >= 18


def test_a_difference_inside_the_noise_band_is_no_difference_however_certain():
    a = [1 + n * 1e-5 for n in range(20)]
    assert compare("t", a, [x * 1.02 for x in a]).answer == "no difference shown"
    assert compare("t", a, [x * 1.02 for x in a], band=0.01).answer == "worse"


def test_more_is_better_where_it_is():
    a = [100.0 + n for n in range(8)]
    b = [120.0 + n for n in range(8)]
    assert compare("throughput", a, b, higher_is_better=True).answer == "better"
    assert compare("throughput", a, b).answer == "worse"


def test_too_few_runs_are_refused():
    with pytest.raises(ValueError, match="at least 5"):
        compare("t", [1, 2, 3, 4], [1, 2, 3, 4, 5])


def test_commands_take_turns_so_that_drift_falls_on_both():
    assert "".join(order(4)) == "abbaabba"


def save_all(folder: Path, name: str, factors: list[float], **changes: Any) -> list[str]:
    paths = []
    for number, factor in enumerate(factors):
        result = a_result(rate=100, count=200)
        result.overall.e2e.p50 *= factor
        result.overall.service.p50 *= factor
        result.expectations = []
        result.workload = replace(result.workload, **changes)
        path = folder / f"{name}-{number}.json"
        save(result, path)
        paths.append(str(path))
    return paths


def test_worse_results_end_with_3_and_equal_ones_with_0(tmp_path, capsys):
    base = save_all(tmp_path, "base", [1.0, 1.01, 0.99, 1.005, 0.995])
    slow = save_all(tmp_path, "slow", [1.2, 1.21, 1.19, 1.205, 1.195])
    assert main(["compare", *base, "--", *slow]) == 3
    assert "worse" in capsys.readouterr().out
    assert main(["compare", "--base", *slow, "--new", *base]) == 0
    assert "better" in capsys.readouterr().out
    assert main(["compare", *base, "--", *base]) == 0
    assert "no difference shown" in capsys.readouterr().out


def test_the_answers_are_a_page_and_a_summary_too(tmp_path):
    base = save_all(tmp_path, "base", [1.0, 1.01, 0.99, 1.005, 0.995])
    slow = save_all(tmp_path, "slow", [1.2, 1.21, 1.19, 1.205, 1.195])
    page, text = tmp_path / "c.html", tmp_path / "c.md"
    files = ["--html", str(page), "--markdown", str(text)]
    assert main(["compare", *base, "--new", *slow, *files]) == 3
    assert '<p class="notice ">worse: e2e.p50, service.p50</p>' in page.read_text()
    assert "**FAIL**: worse: e2e.p50, service.p50" in text.read_text()
    assert "| e2e.p50 | worse | 5 + 5 | 1.200 |" in text.read_text()
    assert main(["compare", *base, "--new", *base, *files]) == 0
    assert '<p class="notice good">nothing is worse</p>' in page.read_text()
    assert "FAIL" not in text.read_text()
    assert main(["ab", "--a", "echo 1", "--b", "echo 1", "--runs", "5", *files]) == 0
    assert "| wall | no difference shown |" in text.read_text()


def test_unlike_workloads_and_too_few_runs_are_refused(tmp_path, capsys):
    base = save_all(tmp_path, "base", [1.0] * 5)
    other = save_all(tmp_path, "other", [1.0] * 5, arrivals="poisson")
    assert main(["compare", *base, "--", *other]) == 2
    assert "unlike workloads" in capsys.readouterr().err
    assert main(["compare", *base[:4], "--", *base]) == 2
    assert "at least 5" in capsys.readouterr().err


def test_ab_reads_a_number_from_each_command(capsys):
    slower = "python3 -c 'import random; print(random.gauss(1.5, 0.01))'"
    faster = "python3 -c 'import random; print(random.gauss(1.0, 0.01))'"
    flags = ["--runs", "5", "--figure", "stdout", "--json"]
    assert main(["ab", "--a", faster, "--b", slower, *flags]) == 3
    assert json.loads(capsys.readouterr().out)[0]["answer"] == "worse"


def test_higher_is_better_turns_only_the_figure_on_stdout_round(capsys):
    figures = ("stdout", "wall", "e2e.p50", "throughput")
    assert [is_higher_better(f, of_stdout=True) for f in figures] == [True, False, False, True]
    assert [is_higher_better(f, of_stdout=False) for f in figures] == [False, False, False, True]
    assert main(["ab", "--a", "true", "--b", "true", "--higher-is-better"]) == 2
    assert "--figure stdout" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "code"),
    [("exit 7", 1), ("echo soon", 1), ("printf '\\377'", 1), ("echo 0", 0), ("echo -1", 2)],
)
def test_a_command_that_fails_or_says_no_number_is_one_clear_line(command, code, capsys):
    flags = ["--runs", "5", "--figure", "stdout"]
    assert main(["ab", "--a", command, "--b", command, *flags]) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("loadgen:")]
    assert len(errors) == bool(code)


@pytest.mark.parametrize(
    "printed", ["soon", "[]", '{"format":"taskrig-loadgen-result","version":1}']
)
def test_a_command_that_prints_no_whole_result_is_one_clear_line(printed, capsys):
    command = f"echo '{printed}'"
    flags = ["--runs", "5", "--figure", "e2e.p50"]
    assert main(["ab", "--a", command, "--b", command, *flags]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("loadgen:")]
    assert errors == [f"loadgen: printed no result (add --json?): {command}"]
