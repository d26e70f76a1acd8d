"""What YAML 1.1 makes of bare scalars, and its syntax errors in words."""

from __future__ import annotations

import re

from yaml.error import MarkedYAMLError

from taskrig.config.raw import Odd

_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_FRACTION = re.compile(r"[-+]?([0-9][0-9_]*)?\.?[0-9_]*([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE)


def number(text: str) -> int | float | Odd:
    """A decimal number as people write it; anything else that YAML 1.1 calls a number is odd."""
    if len(text) > 40:
        return Odd(text, "a number of more than 40 digits")
    if _DECIMAL.fullmatch(text):
        return int(text.replace("_", ""))
    if ":" in text:
        return Odd(text, "a number to base 60")
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", ""))
    if re.fullmatch(r"[-+]?0[0-7_]+", text):
        return Odd(text, "an octal number")
    if re.fullmatch(r"[-+]?0[xb].*", text):
        return Odd(text, "a hexadecimal or binary number")
    try:
        return float(text.replace("_", "")) if _FRACTION.fullmatch(text) else Odd(text, "a number")
    except ValueError:
        return Odd(text, "a number")


def reading_of(kind: str) -> str:
    """What YAML takes a scalar of this tag for."""
    names = {
        "bool": "true or false",
        "int": "a number",
        "float": "a number",
        "null": "nothing",
        "timestamp": "a date",
    }
    return names.get(kind, "something with a tag")


def syntax_text(error: MarkedYAMLError) -> str:
    """What is wrong, without the text at fault: it may be a password that should be quoted."""
    problem = error.problem or "is not YAML"
    if "\\t" in problem or "'\t'" in problem:
        return "a tab cannot indent YAML; use spaces"
    if "undefined alias" in problem:
        return "an unquoted * begins an alias that is nowhere defined; quote text that begins so"
    if "single document" in (error.context or ""):
        return "a second document (---) begins here; keep one"
    if "duplicate anchor" in (error.context or "") or "found duplicate anchor" in problem:
        return "an anchor (&name) is defined twice; quote text that begins with &"
    if "cannot start any token" in problem:
        return "quote text that begins with @, ` or %"
    if "mapping values are not allowed" in problem:
        return "unexpected colon; indent with equal spaces, quote text that holds ': '"
    if "could not find expected ':'" in problem:
        return "expected 'key: value'; is a colon, or the space after it, missing?"
    return "is not YAML here; check indentation, quotes and brackets"
