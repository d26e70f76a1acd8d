"""Runs the real loadgen command in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any


class Loadgen:
    """Runs the real command in a process of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    async def start(self, *args: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "taskrig_loadgen",
            *args,
            "--redis-url",
            self.url,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )

    async def __call__(self, *args: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        process = await self.start(*args)
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async def result(self, *args: str) -> tuple[int, dict[str, Any]]:
        """Exit code and the result document."""
        code, out, err = await self(*args, "--json")
        assert out, err
        return code, json.loads(out)
