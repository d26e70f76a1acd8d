"""Load a configuration in a test: text in, settings or problem lines out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from taskrig.config.load import load_config
from taskrig.config.sections import Config
from taskrig.errors import UsageError


class Settings:
    """A config.yaml in a folder of its own, which is the current one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "config.yaml"

    def write(self, text: str | bytes) -> Path:
        """Write config.yaml."""
        self.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self.file

    def load(
        self,
        text: str | bytes | None = None,
        *,
        env: Mapping[str, str] | None = None,
        flags: Mapping[str, Any] | None = None,
        sets: Sequence[str] = (),
    ) -> Config:
        """The configuration that holds."""
        if text is not None:
            self.write(text)
        return load_config(None, env=env or {}, overrides=flags or {}, sets=sets)

    def problems(self, text: str | bytes | None = None, **layers: Any) -> list[str]:
        """The problem lines of a configuration that is refused."""
        with pytest.raises(UsageError) as caught:
            self.load(text, **layers)
        return str(caught.value).splitlines()

    def problem(self, text: str | bytes | None = None, **layers: Any) -> str:
        """The one problem line."""
        [line] = self.problems(text, **layers)
        return line
