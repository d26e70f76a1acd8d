"""Load the configuration for a command, and make the user's own modules importable."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import TYPE_CHECKING

from taskrig.frame.settings import config_from_args

if TYPE_CHECKING:
    from taskrig.config.sections import Config


def load_settings(args: argparse.Namespace) -> Config:
    """The configuration; the config file's folder, else the current one, is on the import path.

    Raises:
        UsageError: with every problem of the configuration.
    """
    config = config_from_args(args)
    with contextlib.suppress(OSError):  # the current folder may be gone
        folder = str(config.folder)
        if folder not in sys.path:
            sys.path.insert(0, folder)
    return config
