"""SMTP servers for tests, and a real worker that sends through them."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import socket
import threading
import time
from collections import Counter
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import AuthResult

from tests.support.processes import WorkerProcess
from tests.support.world import World

MAIL = {"to": "user@example.com", "subject": "Grüße", "body": "first\n.\nlast", "id": "7"}
SECTION = {"host": "localhost", "sender": "Shop <no-reply@shop.example>"}


class Mailbox:
    """What the server does with a mail: keep it, unless an address says otherwise."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.asked: Counter[str] = Counter()
        self.full_for = 1  # how often each address that begins with "soon" is refused
        self.open = False  # from now on nobody is refused; "stuck" addresses wait for it
        self.answers: list[str] = []  # to the next mails, when they have been sent

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        """Whether this recipient is accepted."""
        self.asked[address] += 1
        if not self.open:
            if address.startswith("gone"):
                return "550 no such user"
            if address.startswith("later"):
                return "450 try again later"
            if address.startswith("stuck"):
                if self.asked[address] == 1:
                    return "450 try again later"
                while not self.open:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            if address.startswith("soon") and self.asked[address] <= self.full_for:
                return "452 too many mails at once"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Whether the mail is accepted."""
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer.startswith("250"):
            self.mails.append(envelope)
        return answer

    def authenticate(
        self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any
    ) -> AuthResult:
        """Whether a login is right."""
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"p:ss word")

    def message(self) -> EmailMessage:
        """The only mail."""
        [envelope] = self.mails
        return email.message_from_bytes(envelope.content, policy=email.policy.default)

    def got(self) -> Counter[str]:
        """How many mails each address got."""
        return Counter(address for envelope in self.mails for address in envelope.rcpt_tos)


class Strange:
    """A server that answers slowly, or hangs up: `hang_up` is "in the mail" or "after the mail"."""

    def __init__(self, *, answer_after_s: float = 0.0, hang_up: str = "") -> None:
        self.accepted = 0
        self._answer_after_s, self._hang_up = answer_after_s, hang_up
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rwb") as lines:
            self._say(lines, b"220 ready")
            while command := lines.readline().upper():
                if command.startswith(b"DATA"):
                    self._say(lines, b"354 go on")
                    if self._hang_up == "in the mail":
                        return
                    while lines.readline() not in (b".\r\n", b""):
                        pass
                    self.accepted += 1
                    self._say(lines, b"250 accepted")
                    if self._hang_up == "after the mail":
                        return
                elif command.startswith(b"QUIT"):
                    time.sleep(30)  # no answer
                else:
                    self._say(lines, b"250 ok")

    def _say(self, lines: Any, text: bytes) -> None:
        time.sleep(self._answer_after_s)
        lines.write(text + b"\r\n")
        lines.flush()


def send(
    world: World, port: int, *mails: dict[str, Any], task: Any = None, **settings: Any
) -> WorkerProcess:
    """Let a real worker send; `settings` are of the `email` section, `task` is `tasks.email`."""
    worker = start_sender(world, port, task, **settings)
    for data in mails or (MAIL,):
        world.enqueue("email", **data)
    world.all_settled()
    return worker


def start_sender(world: World, port: int, task: Any = None, **settings: Any) -> WorkerProcess:
    """A real worker that sends through that server."""
    return world.start_worker(
        handlers=["taskrig.handlers"],
        email={**SECTION, "port": port, **settings},
        tasks={"email": task or {}},
    )
