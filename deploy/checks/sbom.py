"""Print this environment's Python packages as a CycloneDX 1.6 bill of materials.

`make sbom` runs it inside the image, so that it lists what is there and not what was asked for.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from importlib.metadata import Distribution, distributions
from typing import Any


def component(found: Distribution) -> dict[str, Any]:
    """One package by its normalised name (PEP 503), version, licence and package URL."""
    name = re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower()
    reference = f"pkg:pypi/{name}@{found.version}"
    entry: dict[str, Any] = {
        "type": "library",
        "bom-ref": reference,
        "name": name,
        "version": found.version,
        "purl": reference,
    }
    licence = found.metadata.get("License-Expression") or found.metadata.get("License")
    if licence and len(licence) < 100:  # some put the whole text there
        entry["licenses"] = [{"license": {"name": licence}}]
    return entry


def bill() -> dict[str, Any]:
    """The whole document; the same packages give the same document."""
    components = sorted((component(found) for found in distributions()), key=lambda c: c["name"])
    ours = next((c for c in components if c["name"] == "taskrig"), None)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": ours or {"type": "application", "name": "taskrig", "bom-ref": "taskrig"},
            "properties": [{"name": "python", "value": platform.python_version()}],
        },
        "components": [c for c in components if c is not ours],
    }


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=2)
    print()
