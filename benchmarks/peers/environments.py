"""Each peer's own environment, made on demand in a cache folder: their pins collide."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.bullmq import SCRIPT
from benchmarks.peers.peer import Peer
from benchmarks.peers.rounds import MeasureFailed
from taskrig.errors import UsageError

INSTALL_S = 600
HERE = Path(__file__).parent


def cache_folder() -> Path:
    """Where the environments are kept between runs.

    Raises:
        UsageError: this user has no home folder.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        base = Path(named) if os.path.isabs(named) else Path.home() / ".cache"
    except RuntimeError:  # HOME is not set, and the user id has no name
        raise UsageError("there is no home folder for the environments; give --cache") from None
    return base / "taskrig" / "peers"


def newest_python() -> str:
    """The newest interpreter on the PATH that all adapters know, else this one."""
    for name in ("python3.13", "python3.12"):
        path = shutil.which(name)
        if path and _version(path) >= (3, 12):
            return path
    return sys.executable


def _version(python: str) -> tuple[int, ...]:
    program = "import sys; print(*sys.version_info[:3])"
    try:
        done = subprocess.run(
            [python, "-c", program], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return (0,)
    return tuple(int(word) for word in done.stdout.split())


class Environments:
    """Makes, finds and describes the environments."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        self.python = python
        self.version = _version(python)
        self._ready: dict[str, Path] = {}

    def of(self, name: str, peer: Peer) -> Path:
        """The folder of this peer's environment, installed if need be.

        Raises:
            MeasureFailed: it cannot be made here; says why.
        """
        if name not in self._ready:
            self._ready[name] = self._made(name, peer)
        return self._ready[name]

    def _made(self, name: str, peer: Peer) -> Path:
        if peer.is_python and self.version < peer.oldest_python:
            oldest = ".".join(map(str, peer.oldest_python))
            raise MeasureFailed(f"it needs Python {oldest}; name one with --python")
        tag = "node" if not peer.is_python else "py" + "".join(map(str, self.version[:2]))
        folder = self.folder / f"{name}-{tag}"
        stamp = folder / ".ready"
        wanted = json.dumps(peer.packages)
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            try:
                folder.mkdir(parents=True)
            except OSError as error:
                text = f"cannot make {folder}: {error.strerror}; give --cache"
                raise MeasureFailed(text) from None
            for command in self._steps(folder, peer):
                _run(command, folder)
            stamp.write_text(wanted)
        if not peer.is_python:
            shutil.copy(HERE / SCRIPT, folder / SCRIPT)
        return folder

    def _steps(self, folder: Path, peer: Peer) -> list[list[str]]:
        if not peer.is_python:
            if not shutil.which("npm") or not shutil.which("node"):
                raise MeasureFailed("Node.js with npm is not installed")
            return [
                [
                    "npm",
                    "install",
                    "--no-fund",
                    "--no-audit",
                    "--ignore-scripts",
                    "--prefix",
                    str(folder),
                    *peer.packages,
                ]
            ]
        python = str(folder / "bin" / "python")
        beside = Path(sys.executable).with_name("uv")
        uv = str(beside) if beside.exists() else shutil.which("uv")
        if uv:
            return [
                [uv, "venv", "--quiet", "--allow-existing", "--python", self.python, str(folder)],
                [uv, "pip", "install", "--quiet", "--python", python, *peer.packages],
            ]
        return [
            [self.python, "-m", "venv", str(folder)],
            [python, "-m", "pip", "install", "--quiet", *peer.packages],
        ]

    def installed(self, name: str, peer: Peer) -> str:
        """The version of the peer itself that is measured; "" when it is not installed."""
        folder = self._ready.get(name)
        if folder is None:
            return ""
        package = peer.packages[0].partition("[")[0].partition(">")[0]
        if not peer.is_python:
            text = (folder / "node_modules" / package / "package.json").read_text()
            return str(json.loads(text)["version"])
        program = f"from importlib.metadata import version; print(version({package!r}))"
        done = subprocess.run(
            [str(folder / "bin" / "python"), "-c", program],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.stdout.strip()


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MeasureFailed(f"could not be installed: {error}") from None
    if done.returncode:
        tail = " ".join((done.stderr or done.stdout).split())[-300:]
        raise MeasureFailed(f"could not be installed: {tail}")
