"""Ports on 127.0.0.1: free or taken."""

from __future__ import annotations

import socket

from deploy.local.processes import CannotStart

HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket() as probe:
        # As servers do it: a port whose old connections linger is free all the same.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def require_free(port: int, *, purpose: str, variable: str) -> None:
    """Raise CannotStart, naming the port and the make variable that chooses another."""
    if not is_free(port):
        raise CannotStart(
            f"port {port} (for {purpose}) is taken by another program: "
            f"stop that one, or choose another port, for example {variable}={next_free(port)}"
        )


def next_free(port: int) -> int:
    """The first free port from `port` on; `port` itself when none is found within 200."""
    return next((p for p in range(port, min(port + 200, 65536)) if is_free(p)), port)
