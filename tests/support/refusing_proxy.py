"""A proxy between a program and its Redis that refuses commands, as providers' proxies do.

Each client has a connection of its own to the server. A refused command gets an error (Envoy's
words), or the connection is closed.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Collection

import hiredis


class RefusingProxy:
    """Listens on `port` of the loopback; `refused` are names such as CLIENT or "CLIENT SETNAME"."""

    def __init__(self, server_port: int, refused: Collection[str] = (), *, hangs_up: bool = False):
        self._server_port = server_port
        self._refused = frozenset(refused)
        self._hangs_up = hangs_up
        self.seen: set[str] = set()  # names of all commands, with subcommands
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The URL of database 0 behind it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def close(self) -> None:
        """Close all."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for one in (self._listener, *self._open):
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                return
            self._open += [client, server]
            threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        commands = hiredis.Reader()
        with contextlib.suppress(OSError), client, server:
            while data := client.recv(65536):
                commands.feed(data)
                while command := commands.gets():
                    if not self._pass(command, client, server):
                        return

    def _pass(self, command: list[bytes], client: socket.socket, server: socket.socket) -> bool:
        """Carry one command and its one answer; False when the client was hung up on."""
        name = command[0].decode().upper()
        full = f"{name} {command[1].decode().upper()}" if len(command) > 1 else name
        is_sub = name in ("CLIENT", "CONFIG", "SCRIPT", "OBJECT", "MEMORY", "ACL", "CLUSTER")
        self.seen.add(full if is_sub else name)
        if not {name, full} & self._refused:
            server.sendall(b"*%d\r\n" % len(command))
            server.sendall(b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in command))
            return self._carry_answer(client, server)
        if not self._hangs_up:
            client.sendall(b"-ERR unsupported command '%b'\r\n" % command[0])
        return not self._hangs_up

    @staticmethod
    def _carry_answer(client: socket.socket, server: socket.socket) -> bool:
        answers = hiredis.Reader(notEnoughData=Ellipsis)
        while answers.gets() is Ellipsis:
            data = server.recv(65536)
            if not data:
                return False
            answers.feed(data)
            client.sendall(data)
        return True
