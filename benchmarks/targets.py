"""What the measurements are held to, and whether it was reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool | None]  # name, wanted, measured, met (None: not measured)
NOT_PURE_PYTHON = ("ours", "ardiq", "bullmq", "cauli")
AGAINST = (  # table, peer, how many times as fast at least
    *(("drain100", "cauli", 2.5), ("drain10", "cauli", 1.5)),
    *(("drain100-plain", "cauli", 1.0), ("drain10-plain", "cauli", 1.0)),
    *(("drain100-plain", "dramatiq", 10.0), ("drain10-plain", "dramatiq", 10.0)),
    *(("drain100-plain", "blitzq", 6.0), ("drain10-plain", "blitzq", 6.0)),
    *(("process", "bare", 0.85), ("process", "cauli", 1.0), ("process", "blitzq", 1.0)),
)


class Targets:
    """Looks figures up in the two results, either of which may be empty."""

    def __init__(self, bench: dict[str, Any], peers: dict[str, Any]) -> None:
        self.rounds = min((found["rounds"] for found in (bench, peers) if found), default=0)
        self._bench = {row["name"]: row for row in bench.get("rows", [])}
        self._peers = {table["name"]: table for table in peers.get("tables", [])}

    def rows(self) -> Iterator[Row]:
        """Every target."""
        yield from self._drains()
        yield self._pick_up()
        yield _least("p99 of pick-up", 2.0, self._median("p99 at 50/s"), "ms", below=True)
        for name in (name for name in self._bench if name.startswith("over the ideal")):
            yield _least(f"the mix, {name}", 1.0, self._median(name), "%", below=True)
        yield _least(
            "1,000,000 waiting against 10,000", 0.95, self._ratio("1,000,000 waiting"), "times"
        )
        yield _least(
            "two workers against one, 1 ms of CPU a task",
            1.5,
            self._ratio("1 ms of CPU, 2 workers"),
            "times",
        )
        yield _least("CPU of one scrape", 5.0, self._median("CPU of one scrape"), "ms", below=True)
        yield _least(
            "drain while scraped against not",
            0.99,
            self._ratio("/metrics scraped once a second"),
            "times",
        )
        yield _least(
            "memory of a task in flight",
            4.0,
            self._median("each of 10,000 tasks in flight"),
            "KiB",
            below=True,
        )

    def _drains(self) -> Iterator[Row]:
        for slots, pure, rust in ((100, 20.0, 7.0), (10, 8.0, 4.0)):
            name = f"drain{slots}"
            fastest = self._best(name)
            text = f"no-op drain, {slots} at once, against the fastest pure-Python queue"
            yield _least(text, pure, fastest["ratio"] if fastest else None, "times")
            yield self._against(name, "ardiq", rust)
        yield _least(
            "no-op drain, 100 at once, against the bare probe",
            0.65,
            self._ratio("worker, 100 at once"),
            "times",
        )

        for name, peer, wanted in AGAINST:
            yield self._against(name, peer, wanted)
        for name in ("drain100", "drain10"):
            plain = self._peer(f"{name}-plain", "ours")
            coroutine = self._peer(name, "ours")
            share = None
            if plain and coroutine and plain["median"] and coroutine["median"]:
                share = plain["median"] / coroutine["median"]
            text = f"plain functions against coroutines, {name.removeprefix('drain')} at once"
            yield _least(text, 0.6, share, "times")

    def _against(self, table: str, peer: str, wanted: float) -> Row:
        row = self._peer(table, peer)
        found = self._peers.get(table, {"text": table})["text"]
        text = f"{found[0].lower()}{found[1:]}, against {row['name'] if row else peer}"
        return _least(text, wanted, row["ratio"] if row else None, "times")

    def _pick_up(self) -> Row:
        table = self._peers.get("pickup", {"rows": []})
        others = [row for row in table["rows"] if row["peer"] != "ours" and row["median"]]
        ours = self._peer("pickup", "ours")
        if not others or ours is None or ours["median"] is None:
            return ("p50 of pick-up", "below the best peer's", "not measured", None)
        best = min(others, key=lambda row: row["median"])
        measured = f"{ours['median']:.2f} ms; {best['name']} {best['median']:.2f}"
        return (
            "p50 of pick-up",
            "below the best peer's",
            measured,
            ours["median"] < best["median"],
        )

    def _best(self, table: str) -> dict[str, Any] | None:
        rows = self._peers.get(table, {"rows": []})["rows"]
        pure = [row for row in rows if row["peer"] not in NOT_PURE_PYTHON and row["median"]]
        return max(pure, key=lambda row: row["median"], default=None)

    def _peer(self, table: str, name: str) -> dict[str, Any] | None:
        rows = self._peers.get(table, {"rows": []})["rows"]
        return next((row for row in rows if row["peer"] == name), None)

    def _median(self, name: str) -> float | None:
        found: float | None = self._bench.get(name, {}).get("median")
        return found

    def _ratio(self, name: str) -> float | None:
        found: float | None = self._bench.get(name, {}).get("ratio")
        return found


def _least(name: str, wanted: float, found: float | None, unit: str, *, below: bool = False) -> Row:
    text = f"{'below' if below else 'at least'} {wanted:g} {unit}"
    if found is None:
        return name, text, "not measured", None
    return name, text, f"{found:.2f} {unit}", found < wanted if below else found >= wanted
