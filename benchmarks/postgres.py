"""A PostgreSQL server of one measurement, and the little of its client that handlers need."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import Any

from benchmarks.peers.rounds import MeasureFailed

WHERE = "BENCH_POSTGRES"  # the variable that tells handlers the folder of the server's socket
_OK = (1, 2)  # a command, or a question, was answered


class Connection:
    """One connection, by libpq, which comes with the server: so the bench needs no package more."""

    def __init__(self, folder: str) -> None:
        self._pq = _libpq()
        self._link = self._pq.PQconnectdb(f"host={folder} user=bench dbname=postgres".encode())
        if self._pq.PQstatus(self._link):
            raise MeasureFailed(self._pq.PQerrorMessage(self._link).decode().strip())

    def execute(self, statement: str, values: Sequence[str] = ()) -> str:
        """Run one statement with its values; returns the first field of the answer, if any."""
        given = (ctypes.c_char_p * len(values))(*(value.encode() for value in values))
        text, nothing = statement.encode(), (None, None, 0)
        result = self._pq.PQexecParams(self._link, text, len(values), None, given, *nothing)
        try:
            if self._pq.PQresultStatus(result) not in _OK:
                raise MeasureFailed(self._pq.PQerrorMessage(self._link).decode().strip())
            return str(self._pq.PQgetvalue(result, 0, 0).decode()) if statement[0] == "S" else ""
        finally:
            self._pq.PQclear(result)


_kept = threading.local()


def connection() -> Connection:
    """The connection of this thread."""
    if not hasattr(_kept, "connection"):
        _kept.connection = Connection(os.environ[WHERE])
    found: Connection = _kept.connection
    return found


def _libpq() -> Any:
    try:
        pq = ctypes.CDLL("libpq.so.5")
    except OSError as error:
        raise MeasureFailed(f"needs libpq, as Debian's postgresql brings it: {error}") from None
    pq.PQconnectdb.restype = pq.PQexecParams.restype = ctypes.c_void_p
    pq.PQerrorMessage.restype = pq.PQgetvalue.restype = ctypes.c_char_p
    for name in ("PQstatus", "PQerrorMessage", "PQresultStatus", "PQclear"):
        getattr(pq, name).argtypes = [ctypes.c_void_p]
    pq.PQgetvalue.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    pq.PQexecParams.argtypes = [
        *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p),
        *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int),
    ]
    return pq


@contextlib.contextmanager
def server() -> Iterator[str]:
    """A server with its default settings in a folder of its own; yields the folder.

    It refuses to run as root, so then it runs as the user `postgres`.
    """
    found = sorted(glob("/usr/lib/postgresql/*/bin"))
    initdb = shutil.which("initdb", path=os.pathsep.join([*found, os.environ["PATH"]]))
    if initdb is None:
        raise MeasureFailed("needs PostgreSQL: apt-get install postgresql")
    programs = Path(initdb).parent
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="bench-pg-") as folder:
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
            os.chmod(folder, 0o711)
        data = f"{folder}/data"
        _run([initdb, "-D", data, "-U", "bench", "-A", "trust"], user)
        served = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}"]
        command = [str(programs / "postgres"), "-D", data, *served]
        with open(f"{folder}/log", "wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, user=user, cwd=folder)
        try:
            _run([str(programs / "pg_isready"), "-h", folder, "-t", "20"], user, tries=200)
            yield folder
        finally:
            process.send_signal(signal.SIGINT)  # whoever is still connected is cut off
            process.wait(30)


def _run(command: list[str], user: str | None, tries: int = 1) -> None:
    for _ in range(tries):
        done = subprocess.run(command, user=user, cwd="/", capture_output=True, text=True)
        if done.returncode == 0:
            return
        threading.Event().wait(0.1 if tries > 1 else 0)
    raise MeasureFailed(f"{command[0]}: {(done.stderr or done.stdout).strip()[-300:]}")
