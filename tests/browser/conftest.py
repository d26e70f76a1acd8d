"""A real Chromium. Without one the browser tests are left out; in CI that is a failure."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests.browser.page import NEEDS, find_programs, start_chromium


@pytest.fixture(scope="session")
def chromium() -> Iterator[webdriver.Chrome]:
    """One browser for all tests of the session."""
    programs = find_programs()
    if programs is None:
        if os.environ.get("CI"):
            pytest.fail(NEEDS)
        pytest.skip(NEEDS)
    one = start_chromium(*programs)
    yield one
    one.quit()
