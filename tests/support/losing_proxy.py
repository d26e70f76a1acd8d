"""A proxy that carries a command to Redis and loses the answer: the client is hung up on."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import hiredis


class LosingProxy:
    """Listens on `port` of the loopback. The answers to the next `losses` commands of the name
    `loses` are lost; `commands` counts those of this name that reached the server."""

    def __init__(self, server: tuple[str, int], loses: bytes, losses: int = 1) -> None:
        self._server, self._name, self.losses = server, loses, losses
        self.commands = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

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
                server = socket.create_connection(self._server)
            except OSError:
                return
            self._open += [client, server]
            threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError), client, server:
            for data, count in self._commands_of(client):
                self.commands += count
                server.sendall(data)
                answer = server.recv(65536)  # one short answer to each write, as clients of one
                if count and self.losses:  # call at a time have it
                    self.losses -= 1
                    return
                client.sendall(answer)

    def _commands_of(self, client: socket.socket) -> Iterator[tuple[bytes, int]]:
        reader, data = hiredis.Reader(), b""
        while part := client.recv(65536):
            reader.feed(part)
            data += part
            names = []
            while command := reader.gets():
                names.append(command[0].upper())
            if names:
                yield data, names.count(self._name)
                data = b""
