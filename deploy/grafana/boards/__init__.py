"""What the dashboards show: one line of text, unit and PromQL for each panel. No JSON here."""

from __future__ import annotations

from boards.load_test import LOAD_TEST
from boards.overview import OVERVIEW
from boards.runtime import RUNTIME
from boards.task_type import TASK_TYPE

BOARDS = (OVERVIEW, TASK_TYPE, RUNTIME, LOAD_TEST)
