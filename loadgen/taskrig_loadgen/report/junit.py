"""The checks and expectations of a result as JUnit XML, for a CI's test page. Pure."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from taskrig_loadgen.result.model import Result
from taskrig_loadgen.result.verdict import EXPECTATIONS, checks


def document(result: Result) -> str:
    """One test case for each check that makes an exit code, and one for each expectation."""
    cases = [
        _case(check.name, "; ".join(check.problems))
        for check in checks(result)
        if check.code and check.name != EXPECTATIONS
    ]
    for judged in result.expectations:
        cases.append(_case(judged.text, "" if judged.ok else f"was {judged.shown}"))
    notes = escape("\n".join(_notes(result)))
    notes = f"  <system-out>{notes}</system-out>\n" if notes else ""  # at most one, says its schema
    failures = sum("<failure" in case for case in cases)
    seconds = result.totals.makespan_s or 0
    head = (
        f'<testsuite name="loadgen {result.kind}" tests="{len(cases)}" '
        f'failures="{failures}" time="{seconds:.3f}">'
    )
    body = "\n".join(cases)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n{body}\n{notes}</testsuite>\n'


def _case(name: str, failure: str) -> str:
    start = f'  <testcase classname="loadgen" name={quoteattr(_clean(name))}'
    if not failure:
        return start + "/>"
    return f"{start}>\n    <failure message={quoteattr(_clean(failure))}/>\n  </testcase>"


def _clean(text: str) -> str:
    """Without control characters: XML does not allow them at all, escaped or not."""
    return "".join(c for c in text if c.isprintable())


def _notes(result: Result) -> list[str]:
    return [_clean(text) for check in checks(result) if not check.code for text in check.problems]
