"""Our handlers for the measured tasks; the same bodies as the peers' (see `work.py`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.peers import work
from benchmarks.peers.peer import COROUTINE, PROCESS, form
from taskrig import handler


def _of_coroutine(body: Callable[[float], Any]) -> Callable[..., Any]:
    async def call(data: Any) -> None:
        await body(data["value"])

    return call


def _of_function(body: Callable[[float], Any]) -> Callable[..., Any]:
    def call(data: Any) -> None:
        body(data["value"])

    return call


_wrapped = _of_coroutine if form() == COROUTINE else _of_function
for _kind, _body in work.bodies(form()).items():
    handler(_kind, run_in="process" if form() == PROCESS else None)(_wrapped(_body))
