"""Runs scenarios over peers in interleaved rounds, and makes one JSON document of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers.field import Field
from benchmarks.peers.ours import OUR_VERSION, OURS
from benchmarks.peers.peer import PROCESS
from benchmarks.peers.rounds import MeasureFailed, Samples, rotated
from benchmarks.peers.scenarios import RECOVER, RECOVER_S, SCENARIOS, Scenario, recover

FORMAT, VERSION = "taskrig-peers", 1
Told = Callable[[str], None]


def compare(
    field: Field, names: Sequence[str], scenarios: Sequence[str], rounds: int, told: Told
) -> dict[str, Any]:
    """The figures of all, ours among them under its own name."""
    tables = []
    for scenario in SCENARIOS:
        if scenario.name in scenarios:
            able = [name for name in names if scenario.takes(field, name)]
            tables += _tables(scenario, _measured(field, scenario, able, rounds, told), field)
    if RECOVER in scenarios:
        able = [name for name in names if field.peer(name).forms != (PROCESS,)]
        found = recover(field, able, lambda text: told(f"recover: {text}"))
        rows = {name: found[name] for name in able}
        text = f"kill -9 of a worker until its task runs again (waited {RECOVER_S:g} s)"
        tables.append(_table(RECOVER, text, "s", False, rows, field))
    return {
        "format": FORMAT,
        "version": VERSION,
        "rounds": rounds,
        "peers": [_described(field, name) for name in names],
        "tables": tables,
    }


def _measured(
    field: Field, scenario: Scenario, names: Sequence[str], rounds: int, told: Told
) -> dict[str, dict[str, Samples]]:
    """figure -> peer -> samples."""
    found = {unit: {name: Samples() for name in names} for unit in scenario.units}
    for turn in range(rounds):
        for name in rotated(names, turn):
            try:
                figures = scenario.measure(field, name)
            except MeasureFailed as failed:
                for by_name in found.values():
                    by_name[name].failures.append(str(failed))
                told(f"{scenario.name} {turn + 1}/{rounds} {name}: {failed}")
                continue
            for figure, value in figures.items():
                found[figure][name].values.append(value)
            said = ", ".join(f"{v:,.1f} {scenario.units[f]}" for f, v in figures.items())
            told(f"{scenario.name} {turn + 1}/{rounds} {name}: {said}")
    return found


def _tables(
    scenario: Scenario, found: dict[str, dict[str, Samples]], field: Field
) -> list[dict[str, Any]]:
    tables = []
    for number, (figure, unit) in enumerate(scenario.units.items()):
        better = scenario.higher_is_better and number == 0
        name = scenario.name if number == 0 else f"{scenario.name}.{figure}"
        tables.append(_table(name, scenario.text, unit, better, found[figure], field))
    return tables


def _table(
    name: str, text: str, unit: str, higher_is_better: bool, rows: dict[str, Samples], field: Field
) -> dict[str, Any]:
    ours = rows["ours"].median if "ours" in rows else None
    listed = []
    for peer, samples in rows.items():
        middle = samples.median
        listed.append(
            {
                "peer": peer,
                "name": field.peer(peer).name,
                "median": middle,
                "spread": samples.spread,
                "values": samples.values,
                # ours / theirs: how many times as fast, or as long, we are
                "ratio": ours / middle if ours is not None and middle else None,
                "failures": samples.failures,
            }
        )
    worst = float("-inf") if higher_is_better else float("inf")
    listed.sort(
        key=lambda row: row["median"] if row["median"] is not None else worst,
        reverse=higher_is_better,
    )
    return {
        "name": name,
        "text": text,
        "unit": unit,
        "higher_is_better": higher_is_better,
        "rows": listed,
    }


def _described(field: Field, name: str) -> dict[str, Any]:
    peer = field.peer(name)
    ours = peer.name == OURS  # runs from this program's own sources
    version = OUR_VERSION if ours else field.environments.installed(name, peer)
    return {
        "peer": name,
        "name": peer.name,
        "version": version,
        "durability": peer.durability,
        "setup": peer.setup,
        "slots": peer.slots,
        "ours": ours,
    }
