"""The expectations of a result as JUnit XML, for a CI's test page. Pure."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from taskrig_loadgen.result.model import Result


def document(result: Result) -> str:
    """One test case for each expectation, and one for complete accounting."""
    cases = [_case("every task is accounted for", _left(result))]
    for judged in result.expectations:
        cases.append(_case(judged.text, "" if judged.ok else f"was {judged.shown}"))
    failures = sum("<failure" in case for case in cases)
    seconds = result.totals.makespan_s or 0
    head = (
        f'<testsuite name="loadgen {result.kind}" tests="{len(cases)}" '
        f'failures="{failures}" time="{seconds:.3f}">'
    )
    body = "\n".join(cases)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n{body}\n</testsuite>\n'


def _case(name: str, failure: str) -> str:
    # Control characters are not allowed in XML at all, escaped or not.
    clean = "".join(c for c in name if c.isprintable())
    start = f'  <testcase classname="loadgen" name={quoteattr(clean)}'
    if not failure:
        return start + "/>"
    return f"{start}>\n    <failure message={quoteattr(failure)}/>\n  </testcase>"


def _left(result: Result) -> str:
    if not result.followed or result.verdict.complete:
        return ""
    books = result.accounting
    told = f"{books.lost} lost, {books.left} left in the queue"
    return told + (f", {books.unknown} could not be looked for" if books.unknown else "")
