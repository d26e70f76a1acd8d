"""Background processes of ours: started in a session of their own, known again, ended by pid."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class CannotStart(Exception):
    """One line for the user: what could not be started, where, and how to mend it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that we started.

    `born` is what the system says about its start, so that a pid that was given to another
    program since is not taken for ours. `port` is the one it serves on 127.0.0.1.
    """

    name: str
    pid: int
    born: str
    port: int
    command: list[str]

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return self.born != "" and _born(self.pid) == self.born


def start(
    name: str, command: Sequence[str], *, port: int, log: Path, env: Mapping[str, str] | None = None
) -> Process:
    """Start `command` in the background, its output appended to `log`.

    Raises:
        CannotStart: the program cannot be executed.
    """
    with log.open("ab") as out:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=env,
                start_new_session=True,  # Ctrl-C in the terminal is not meant for it
            )
        except OSError as error:
            raise CannotStart(f"{name}: cannot run {command[0]}: {error.strerror}") from error
    return Process(
        name=name, pid=child.pid, born=_born(child.pid), port=port, command=list(command)
    )


def stop(process: Process, *, within_s: float) -> bool:
    """Ask `process` to end (SIGTERM), kill it after `within_s`. True when it ended by itself."""
    if not process.alive():
        return True
    os.kill(process.pid, signal.SIGTERM)
    if _gone(process, within_s):
        return True
    os.kill(process.pid, signal.SIGKILL)
    _gone(process, 5.0)
    return False


def _gone(process: Process, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while process.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _born(pid: int) -> str:
    """When the process with this pid began, as the system words it; empty when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return "" if Path("/proc/self/stat").exists() else _born_by_ps(pid)
    fields = stat.rpartition(")")[2].split()
    state, started = fields[0], fields[19]  # proc(5): fields 3 and 22
    return "" if state == "Z" else started


def _born_by_ps(pid: int) -> str:
    """The same where there is no /proc (macOS)."""
    said = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split(maxsplit=1)
    return "" if len(said) < 2 or said[0].startswith("Z") else said[1].strip()
