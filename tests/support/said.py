"""What handlers under test say: one JSON object a line, in a file that all workers append to."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("TASKRIG_TEST_FOLDER", "."))


def say(**fields: Any) -> None:
    """Append one line; `at` is CLOCK_MONOTONIC, which all processes of one machine share."""
    line = json.dumps({"at": time.monotonic(), "pid": os.getpid(), **fields})
    with (FOLDER / "said").open("a") as file:
        file.write(line + "\n")


def said(folder: Path) -> list[dict[str, Any]]:
    """All that was said so far, in order."""
    path = folder / "said"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]
