"""Style sheets parse without a fault, and no rule says one thing twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import tinycss2

ROOT = Path(__file__).parents[2]
SHEETS = sorted([*ROOT.glob("worker/**/*.css"), *ROOT.glob("loadgen/**/*.css")])
SKIPPING = {"skip_comments": True, "skip_whitespace": True}


def declarations(rules):
    for rule in rules:
        assert rule.type != "error", (rule.source_line, rule.message)
        if rule.type == "at-rule" and rule.content is not None:
            inside = tinycss2.parse_rule_list(
                rule.content, skip_comments=True, skip_whitespace=True
            )
            yield from declarations(inside)
        elif rule.type == "qualified-rule":
            yield tinycss2.parse_blocks_contents(rule.content, **SKIPPING)


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name + " of " + sheet.parts[-4])
def test_a_style_sheet_has_no_fault(sheet):
    text = sheet.read_text()
    assert len(SHEETS) >= 2
    rules = tinycss2.parse_stylesheet(text, **SKIPPING)
    for block in declarations(rules):
        faults = [one for one in block if one.type == "error"]
        assert not faults, (faults[0].source_line, faults[0].message)
        names = [one.lower_name for one in block if one.type == "declaration"]
        assert len(names) == len(set(names)), (block[0].source_line, names)
