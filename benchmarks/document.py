"""docs/benchmarks.md, made from the results: every figure in it was measured by a command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers.report import cells, figure
from benchmarks.targets import Targets

PAGE = Path("docs/benchmarks.md")
KEPT = Path("benchmarks/measured")  # the results that the page in the repository was made from
NOTES = Path("benchmarks/notes.md")
FILES = ("bench.json", "peers.json")
ENOUGH = 3  # rounds; the median of fewer says nothing on a machine that others use too


def write(results: Path, *, check: bool, say: Callable[[str], None]) -> int:
    """Keep the results, if there are new ones, and make the page; with `check` only compare."""
    if check:
        same = PAGE.exists() and PAGE.read_text() == page(KEPT)
        say(f"{PAGE} is {'up to date' if same else 'not what its results say: make bench-docs'}")
        return 0 if same else 1
    KEPT.mkdir(exist_ok=True)
    for name in FILES:
        if (results / name).exists():
            shutil.copy(results / name, KEPT / name)
    PAGE.write_text(page(KEPT))
    say(f"wrote {PAGE}")
    return 0


def page(folder: Path) -> str:
    """The page, from the results in `folder`."""
    bench, peers = (_read(folder / name) for name in FILES)
    parts = [_HEAD, NOTES.read_text().strip()]
    parts += ["## Targets", "\n".join(_targets(Targets(bench, peers)))]
    if peers:
        parts += ["## Side by side with other task queues", _PEERS, *_environment(peers)]
        parts += ["\n".join(_durability(peers))]
        for table in peers["tables"]:
            parts += [f"### {table['text']}: {table['unit']}", "\n".join(_table(table))]
    if bench:
        parts += ["## Our own hot path", *_environment(bench), "\n".join(_rows(bench))]
    return "\n\n".join(parts) + "\n"


_HEAD = """<!-- Made by `make bench-docs` from benchmarks/measured and benchmarks/notes.md. -->

# Benchmarks

`make bench` measures the hot path against a bare probe of the same protocol in the same run,
`make bench-peers` runs the same work on other task queues, `make bench-docs` makes this page of
what they found. Compare ratios within a table; absolute figures do not travel between machines."""
_PEERS = """Every queue in an environment of its own with the same Python, one worker process, the
same server without persistence, rounds interleaved with a rotating start. The clock runs from the
first handler's call to the last, inside the worker. Ours runs as users get it: metrics, leases and
crash safety on, no log line a task (theirs are off too). Coroutines stand beside coroutines, plain
functions beside plain functions, processes beside processes: who cannot run a form is not in its
table."""


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _environment(result: dict[str, Any]) -> Iterator[str]:
    told = result["environment"]
    server = told.get("server", {})
    name = server.get("server_name", "redis")
    version = server.get("valkey_version") or server.get("redis_version", "?")
    load = ", ".join(map(str, told.get("load_average", [])))
    yield (
        f"{told['cores']} cores ({told['cpu']}), {told['python']}, {name} {version}; "
        f"{result['rounds']} rounds in {result['took_s'] / 60:.0f} minutes; load average at the "
        f"end {load}; commit {told.get('git_commit') or '?'}."
    )


def _durability(peers: dict[str, Any]) -> Iterator[str]:
    yield "| task queue | version | slots | a killed worker's tasks | configuration |"
    yield "|---|---|---|---|---|"
    for peer in peers["peers"]:
        version = peer["version"] or "-"
        yield (
            f"| {peer['name']} | {version} | {peer['slots']} | {peer['durability']} "
            f"| {peer['setup']} |"
        )


def _table(table: dict[str, Any]) -> Iterator[str]:
    yield "| task queue | median | least | greatest | ours / theirs |"
    yield "|---|---:|---:|---:|---:|"
    for row in table["rows"]:
        name, *rest = cells(row)
        if row["median"] is None:
            rest[0] = rest[0].partition(";")[0]
        yield f"| {name} | " + " | ".join(rest) + " |"


def _rows(bench: dict[str, Any]) -> Iterator[str]:
    yield "| | median | unit | least to greatest | ratio |"
    yield "|---|---:|---|---|---|"
    for row in bench["rows"]:
        if row["median"] is None:
            yield f"| {row['name']} | not measured | | | |"
            continue
        low, high = row["spread"]
        ratio = f"{row['ratio']:.2f} of {row['against']}" if row["ratio"] else ""
        yield (
            f"| {row['name']} | {figure(row['median'])} | {row['unit']} "
            f"| {figure(low)} to {figure(high)} | {ratio} |"
        )


def _targets(targets: Targets) -> Iterator[str]:
    yield "| target | wanted | measured | |"
    yield "|---|---|---|---|"
    for name, wanted, measured, met in targets.rows():
        verdict = ("met" if met else "**missed**") if targets.rounds >= ENOUGH else "too few rounds"
        yield f"| {name} | {wanted} | {measured} | {'' if met is None else verdict} |"
