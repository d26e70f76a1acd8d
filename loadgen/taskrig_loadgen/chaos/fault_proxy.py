"""A TCP wire between a program and its Redis: it can be cut, reset, slowed, silenced, lose a reply.

The kernels of build machines have no netem, so the faults of a network are made here: clients
connect to the wire's port, and it carries their bytes to the server and back on threads.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable

_CHUNK_BYTES = 65536
_CONNECT_TIMEOUT_S = 2.0
_ASKED_TIMES = 10  # an idle limit's length, while an answer is awaited
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of no time: a close sends RST, not FIN


class FaultProxy:
    """Carries bytes between `port` on the loopback and a server, as long as it is whole.

    Args:
        host, port: where the server listens; may be down, then clients are refused.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._lock = threading.Lock()
        self._pairs: dict[_Pair, None] = {}  # in the order in which they were opened
        self._listener: socket.socket | None = None
        self._closed = False
        self.port = 0
        self.delay_s = 0.0
        self.silent = False
        self._idle_s: float | None = None
        self._lossy: Callable[[bytes], bool] | None = None
        self.eaten = 0

    def start(self) -> FaultProxy:
        """Listen on a free port of the loopback (the same one after a `cut`)."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(128)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return self

    def cut(self) -> None:
        """Close every connection and refuse new ones until `mend`."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept on Linux
            listener.close()
        self.drop()

    def drop(self) -> None:
        """Close every connection; new ones are carried."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.close()

    def reset(self, which: Callable[[int], bool] = lambda number: True) -> int:
        """Reset connections (RST to both ends), as balancers and NAT do; new ones are carried.

        `which` is asked with the number of each connection: 0 for the oldest one that is open.
        Returns how many were reset.
        """
        with self._lock:
            pairs = [pair for n, pair in enumerate(self._pairs) if which(n)]
        for pair in pairs:
            pair.reset()
        return len(pairs)

    def mend(self) -> None:
        """End every fault: whole, fast and loud again; connections of a silence are closed."""
        was_silent = self.silent
        self.delay_s, self.silent, self._lossy, self._idle_s = 0.0, False, None, None
        if self._listener is None:
            self.start()
        elif was_silent:
            self.drop()  # bytes were swallowed: those streams are out of step

    def slow(self, delay_s: float) -> None:
        """Hold every chunk for `delay_s` in each direction."""
        self.delay_s = delay_s

    def blackhole(self) -> None:
        """Keep connections open and swallow everything, as a firewall that drops does."""
        self.silent = True

    def cut_idle(self, idle_s: float) -> None:
        """Close each connection that has carried nothing for so long, as balancers do.

        One that waits for an answer has ten times as long: a slow machine is no idle wire.
        """
        self._idle_s = idle_s
        threading.Thread(target=self._cut_idle, args=(idle_s,), daemon=True).start()

    def _cut_idle(self, idle_s: float) -> None:
        while self._idle_s == idle_s and not self._closed:
            with self._lock:
                pairs = list(self._pairs)
            for pair in pairs:
                if time.monotonic() - pair.used_at > idle_s * (_ASKED_TIMES if pair.asked else 1):
                    pair.close()
            time.sleep(idle_s / 4)

    def eat_reply(self, to: bytes) -> None:
        """Let the next request that contains `to` through, lose its reply, cut that connection."""
        self.eat_reply_when(lambda request: to in request)

    def eat_reply_when(self, matches: Callable[[bytes], bool]) -> None:
        """As `eat_reply`, for the next request that `matches`."""
        self._lossy = matches

    def close(self) -> None:
        """Close the proxy permanently."""
        self._closed = True
        self.cut()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # cut or closed
            if self.silent:
                server: socket.socket | None = None
            else:
                try:
                    server = socket.create_connection(self._server, _CONNECT_TIMEOUT_S)
                    server.settimeout(None)
                except OSError:
                    client.close()
                    continue
            pair = _Pair(self, client, server)
            with self._lock:
                self._pairs[pair] = None
            pair.start()

    def _loses_reply_to(self, request: bytes) -> bool:
        with self._lock:
            if self._lossy is None or not self._lossy(request):
                return False
            self._lossy = None
            return True

    def _gone(self, pair: _Pair) -> None:
        with self._lock:
            self._pairs.pop(pair, None)


class _Pair:
    """One client's connection and the one to the server behind it."""

    def __init__(
        self, proxy: FaultProxy, client: socket.socket, server: socket.socket | None
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._eats = False
        self.used_at = time.monotonic()
        self.asked = False  # the last bytes went to the server
        self._how = socket.SHUT_RDWR

    def start(self) -> None:
        threading.Thread(target=self._carry_requests, daemon=True).start()
        if self._server is not None:
            threading.Thread(target=self._carry_replies, daemon=True).start()

    def close(self) -> None:
        self._proxy._gone(self)
        for sock in (self._client, self._server):
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(self._how)  # also ends a recv that would hold the close up
                sock.close()

    def reset(self) -> None:
        self._how = socket.SHUT_RD  # sends nothing, whichever thread closes
        for sock in (self._client, self._server):
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()

    def _carry_requests(self) -> None:
        self._carry(self._client, self._server, self._send_request)

    def _carry_replies(self) -> None:
        if self._server is not None:
            self._carry(self._server, self._client, self._send_reply)

    def _carry(
        self,
        source: socket.socket,
        sink: socket.socket | None,
        send: Callable[[socket.socket, bytes], bool],
    ) -> None:
        try:
            while chunk := source.recv(_CHUNK_BYTES):
                self.used_at, self.asked = time.monotonic(), source is self._client
                if self._proxy.silent or sink is None:
                    continue
                if self._proxy.delay_s:
                    time.sleep(self._proxy.delay_s)
                if not send(sink, chunk):
                    break
        except OSError:
            pass
        self.close()

    def _send_request(self, sink: socket.socket, chunk: bytes) -> bool:
        if self._proxy._loses_reply_to(chunk):
            self._eats = True  # before sending: the reply may be quick
        sink.sendall(chunk)
        return True

    def _send_reply(self, sink: socket.socket, chunk: bytes) -> bool:
        if self._eats:
            self._proxy.eaten += 1
            return False
        sink.sendall(chunk)
        return True
