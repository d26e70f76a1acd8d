"""Type `worker ...` as an operator does, in the tests' own process."""

from __future__ import annotations

import contextlib
import io

from taskrig import cli


def typed(*words: str) -> tuple[int, bytes, str]:
    """What `worker ...` answers, in this process: (exit code, standard output, standard error)."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", newline=""), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(words)
    out.flush()
    return code, out.buffer.getvalue(), err.getvalue()
