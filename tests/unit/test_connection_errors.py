"""What is wrong with a connection is said in the same words by the worker and by loadgen."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from taskrig.cli import main as worker
from taskrig_loadgen.cli import main as loadgen
from tests.support.servers import free_port

Answer = Callable[[bytes], bytes]  # of a server, to what it was sent; empty: it hangs up


@pytest.fixture
def server() -> Iterator[Callable[[Answer], int]]:
    """Start a server that answers so; the port."""
    opened: list[socket.socket] = []

    def start(answer: Answer) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        opened.append(listener)
        threading.Thread(target=serve, args=(listener, answer), daemon=True).start()
        return int(listener.getsockname()[1])

    def serve(listener: socket.socket, answer: Answer) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(client, answer), daemon=True).start()

    def talk(client: socket.socket, answer: Answer) -> None:
        with client, contextlib.suppress(OSError):
            while (said := client.recv(65536)) and (back := answer(said)):
                client.sendall(back)

    yield start
    for one in opened:
        one.close()


def says(error: str, to: bytes = b"") -> Answer:
    """The error for an answer to commands with `to` in them, OK to others."""
    return lambda said: f"-{error}\r\n".encode() if to in said else b"+OK\r\n"


FAULTS: dict[str, tuple[str, Answer, str]] = {
    "wrong password": (
        "redis://u:secret@127.0.0.1:{}/0",
        says("WRONGPASS invalid username-password pair or user is disabled.", b"AUTH"),
        "refuses: invalid username-password pair",
    ),
    "no password": (
        "redis://127.0.0.1:{}/0",
        says("NOAUTH Authentication required."),
        "refuses: Authentication required.",
    ),
    "no rights": (
        "redis://127.0.0.1:{}/0",
        says("NOPERM User u has no permissions to run the command"),
        "refuses: User u has no permissions",
    ),
    "wrong database": (
        "redis://127.0.0.1:{}/99",
        says("ERR DB index is out of range", b"SELECT"),
        "refuses: DB index is out of range",
    ),
    "loading": (
        "redis://127.0.0.1:{}/0",
        says("LOADING Redis is loading the dataset in memory"),
        ": Redis is loading the dataset",
    ),
    "read only": (
        "redis://127.0.0.1:{}/0",
        says("READONLY You can't write against a read only replica."),
        ": You can't write against a read only replica.",
    ),
    "moved": ("redis://127.0.0.1:{}/0", says("MOVED 7 127.0.0.1:7001"), ": MOVED 7 127.0.0.1:7001"),
    "no master": (
        "redis://127.0.0.1:{}/0",
        says("MASTERDOWN Link with MASTER is down"),
        ": MASTERDOWN Link with MASTER is down",
    ),
    "out of memory": (
        "redis://127.0.0.1:{}/0",
        says("OOM command not allowed when used memory > 'maxmemory'."),
        "command not allowed when used memory",
    ),
    "too many clients": (
        "redis://127.0.0.1:{}/0",
        says("ERR max number of clients reached"),
        "max number of clients reached",
    ),
    "a script's error": (
        "redis://127.0.0.1:{}/0",
        says("ERR user_script:7: boom"),
        "cannot do it: user_script:7: boom",
    ),
    "it hangs up": ("redis://127.0.0.1:{}/0", lambda said: b"", "Connection closed by server"),
    "no TLS there": ("rediss://127.0.0.1:{}/0", lambda said: b"-ERR unknown command\r\n", "SSL"),
}


def said_by(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> list[str]:
    """The one line of each program, without its name."""
    lines = []
    for main, command in (
        (worker, ["status"]),
        (loadgen, ["monitor", "--once"]),
        (loadgen, ["--mix", "fast=1", "--quiet"]),
    ):
        assert main([*command, *arguments]) in (3, 5)
        (line,) = capsys.readouterr().err.splitlines()
        lines.append(line.partition(": ")[2])
    return lines


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_connection_is_one_line_and_the_same_in_both(fault, server, capsys):
    url, answer, text = FAULTS[fault]
    lines = said_by(capsys, ["--redis-url", url.format(server(answer))])

    assert len(set(lines)) == 1, lines
    assert text in lines[0]
    assert "secret" not in lines[0]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://127.0.0.1:{}/0", "Connection refused"),
        ("redis://nowhere.invalid:{}/0", "connecting to nowhere.invalid"),
        ("unix:///nowhere/{}.sock", "No such file or directory"),
    ],
)
def test_a_server_that_cannot_be_reached_is_one_line_and_the_same_in_both(url, text, capsys):
    lines = said_by(capsys, ["--redis-url", url.format(free_port())])

    assert len(set(lines)) == 1, lines
    assert text in lines[0]


@pytest.mark.parametrize(
    "flags",
    [
        ["redis.sentinels=[127.0.0.1:{}]", "redis.sentinel_master=mymaster"],
        ["redis.cluster=true", "redis.url=redis://127.0.0.1:{}/0"],
    ],
    ids=["Sentinels", "Cluster"],
)
def test_sentinels_and_cluster_out_of_reach_are_said_in_the_same_words(flags, capsys):
    port = free_port()
    lines = said_by(capsys, [f"--set={flag.format(port)}" for flag in flags])

    assert len(set(lines)) == 1, lines
    assert str(port) in lines[0]
