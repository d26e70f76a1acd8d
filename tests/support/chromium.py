"""A real Chromium without a window: what a page is after it has run, and how it looks."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

import pytest

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)


def find_chromium() -> str:
    """Its path; without one the test is skipped on a developer's machine and fails in CI."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    if os.environ.get("CI"):
        pytest.fail("no Chromium: CI installs Debian's package chromium")
    pytest.skip("no Chromium on the PATH: install one to run the tests of the pages")


def _run(flags: list[str], page: Path, width: int, *, dark: bool) -> tuple[str, str]:
    with tempfile.TemporaryDirectory() as profile:
        scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
        command = [find_chromium(), *_FLAGS, scheme, f"--user-data-dir={profile}"]
        command += [f"--window-size={width},1400", *flags, page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    return done.stdout, done.stderr


def dom_of(page: Path, width: int = 1200, *, dark: bool = False) -> tuple[str, str]:
    """The document as it is after its scripts, and what the console said."""
    out, err = _run(["--dump-dom", "--virtual-time-budget=3000"], page, width, dark=dark)
    said = "\n".join(line for line in err.splitlines() if "CONSOLE" in line)
    return out, said


def picture_of(page: Path, target: Path, width: int = 1200, *, dark: bool = False) -> None:
    """A screenshot as PNG."""
    _run([f"--screenshot={target}"], page, width, dark=dark)


def first_pixel(png: Path) -> tuple[int, int, int]:
    """Red, green and blue of the top left pixel of an 8-bit RGB or RGBA picture."""
    raw, at, packed = png.read_bytes(), 8, b""
    while at < len(raw):
        (size,) = struct.unpack(">I", raw[at : at + 4])
        if raw[at + 4 : at + 8] == b"IDAT":
            packed += raw[at + 8 : at + 8 + size]
        at += size + 12
    first_row = zlib.decompressobj().decompress(packed, 4)  # filter byte, then the first pixel
    return first_row[1], first_row[2], first_row[3]
