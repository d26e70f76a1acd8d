"""`${VAR}` and `${VAR:-default}` in the scalars of a config file, after parsing."""

from __future__ import annotations

import re
from collections.abc import Mapping

from taskrig.config.raw import Text

_REFERENCE = re.compile(r"(?P<escaped>\$\$\{)|\$\{(?P<inside>[^}]*)\}|(?P<open>\$\{)")
_INSIDE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-(?P<value>.*))?", re.DOTALL)


def substituted(text: str, env: Mapping[str, str]) -> tuple[Text, list[str]]:
    """`text` with the environment's values filled in, and what is wrong with its references.

    `${VAR:-default}` takes the default when VAR is not set or empty; `$${` is a literal `${`.
    """
    troubles: list[str] = []

    def fill(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "${"
        inside = _INSIDE.fullmatch(match["inside"] or "")
        if match["open"] or inside is None:
            troubles.append("expected ${VAR} or ${VAR:-default}; write $${ for a literal ${")
            return ""
        name = inside["name"]
        if inside["default"] is not None:
            return env.get(name) or inside["value"] or ""
        if name not in env:
            troubles.append(
                f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}"
            )
        return env.get(name, "")

    return Text(_REFERENCE.sub(fill, text)), troubles
