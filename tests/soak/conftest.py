"""The full counts, minutes long: collected only by `make soak` (TEST_SOAK=1)."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("TEST_SOAK") else ["test_*.py"]
