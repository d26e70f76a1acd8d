"""Files below one folder, opened so that no path leads out of it.

Every part of a path is opened by itself, relative to the part before, and never through a link:
whoever swaps a folder for a link meanwhile gains nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import IO

from taskrig import Reject

CHUNK = 256 * 1024
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not hold us
_NAMELESS = getattr(os, "O_TMPFILE", os.O_CREAT | os.O_EXCL)  # which "." refuses
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Source:
    """A file that is read in chunks, up to a bound."""

    def __init__(self, file: IO[bytes], most: int, shown: str) -> None:
        self._file, self._most, self._shown = file, most, shown
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        """The chunks; raises Reject past the bound (the file may grow while it is read)."""
        while chunk := self._file.read(CHUNK):
            self.taken += len(chunk)
            if self.taken > self._most:
                raise _too_large(self._shown, self._most)
            yield chunk


class Folder:
    """The root; a context manager."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> Folder:
        self._fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    @contextlib.contextmanager
    def read(self, path: str, most: int) -> Iterator[Source]:
        """Open a plain file of at most `most` bytes; raises Reject when it is none."""
        with self._parent(path) as (parent, name), _explained(path):
            file = _opened(name, parent)
        if file is None:
            raise Reject(f"{path[:100]!r} is not a plain file")
        with file:
            status = os.fstat(file.fileno())
            if status.st_nlink > 1:
                raise Reject(f"{path[:100]!r} has other names (hard links), maybe outside the root")
            if status.st_size > most:
                raise _too_large(path, most)
            yield Source(file, most, path)

    @contextlib.contextmanager
    def write(self, path: str) -> Iterator[IO[bytes]]:
        """Make a new file; it appears under its name when it is complete.

        One that is there already stays, and is fine when it holds the same bytes.

        Raises:
            Reject: there is one with other bytes, or the path leads nowhere.
        """
        with self._parent(path) as (parent, name), _new_file(parent) as (file, appear_as):
            yield file
            file.flush()
            os.fsync(file.fileno())
            try:
                appear_as(name)
            except FileExistsError:
                if not _same(file, parent, name):
                    raise Reject(f"{path[:100]!r} exists already, with other bytes") from None

    @contextlib.contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        """The open folder that a path's last part lies in, and that part."""
        parts = path.split("/")
        if path.startswith("/") or any(part in ("", ".", "..") for part in parts):
            raise Reject(f"{path[:100]!r} must be a path from the root, without . .. or //")
        if "\0" in path or len(path.encode()) > 4000:
            raise Reject(f"{path[:100]!r} cannot be a path")
        fd = os.dup(self._fd)
        try:
            for part in parts[:-1]:
                with _explained(path):
                    inner = os.open(part, _FOLDER, dir_fd=fd)
                os.close(fd)
                fd = inner
            yield fd, parts[-1]
        finally:
            os.close(fd)


@contextlib.contextmanager
def _new_file(parent: int) -> Iterator[tuple[IO[bytes], Callable[[str], None]]]:
    """A new file, and what gives it its name, which raises FileExistsError.

    Until then it has none where the system can do that: whoever kills us leaves nothing behind.
    """
    try:
        fd = os.open(".", _NAMELESS | os.O_RDWR | os.O_CLOEXEC, 0o640, dir_fd=parent)
    except OSError:  # this file system cannot, or this system
        temporary = f".taskrig-{secrets.token_hex(8)}"
        fd = os.open(temporary, _NEW, 0o640, dir_fd=parent)
        try:
            with os.fdopen(fd, "w+b") as file:
                yield (
                    file,
                    partial(
                        os.link,
                        temporary,
                        src_dir_fd=parent,
                        dst_dir_fd=parent,
                        follow_symlinks=False,
                    ),
                )
        finally:
            os.unlink(temporary, dir_fd=parent)
        return
    with os.fdopen(fd, "w+b") as file:
        yield file, partial(os.link, f"/proc/self/fd/{fd}", dst_dir_fd=parent, follow_symlinks=True)


def _opened(name: str, parent: int) -> IO[bytes] | None:
    """A plain file, not through a link; None when it is something else. Raises OSError."""
    fd = os.open(name, _FILE, dir_fd=parent)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return os.fdopen(fd, "rb", buffering=0)
    os.close(fd)
    return None


def _same(new: IO[bytes], parent: int, name: str) -> bool:
    """Whether `name` is a plain file with the bytes of `new`."""
    try:
        there = _opened(name, parent)
    except OSError:
        return False  # a link, for one
    if there is None:
        return False
    new.seek(0)
    with there:
        if os.fstat(there.fileno()).st_size != os.fstat(new.fileno()).st_size:
            return False
        while chunk := new.read(CHUNK):
            if there.read(CHUNK) != chunk:
                return False
        return not there.read(1)


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """What the task's path is to blame for, as a rejection; other faults stay what they are."""
    try:
        yield
    except OSError as fault:
        if fault.errno in (errno.ENOENT, errno.ENAMETOOLONG):
            raise Reject(f"{path[:100]!r}: no such file") from fault
        if fault.errno in (errno.ELOOP, errno.ENOTDIR):
            raise Reject(f"{path[:100]!r} leads through a link or a file") from fault
        raise


def _too_large(path: str, most: int) -> Reject:
    return Reject(f"{path[:100]!r} is larger than the bound, files.max_bytes: {most:,} bytes")
