"""`worker web`: serve the status page alone, without running tasks."""

from __future__ import annotations

import argparse
import contextlib
import threading

from taskrig.cli.settings import load_settings
from taskrig.errors import UsageError
from taskrig.frame.parser import Commands, command
from taskrig.runtime import early

EXAMPLES = """\
examples:
  worker web                              http://127.0.0.1:9465, read-only
  worker web --port 8080 --set http.token_file=/run/secrets/page_token
Every worker serves the same page on its own port (http.port). It is read-only unless a token is
configured. When Redis is away the page says so. Ctrl-C, SIGTERM or SIGHUP ends it, exit 0."""

DEFAULT_PORT = 9465  # beside a worker's own


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "web",
        execute,
        about="serve the status page alone, without running tasks",
        examples=EXAMPLES,
    )
    parser.add_argument(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        metavar="PORT",
        help=f"port to serve the page on; 0 takes any free one (default {DEFAULT_PORT})",
    )


def execute(args: argparse.Namespace) -> int:
    """Serve until a signal; returns 0."""
    config = load_settings(args)
    if not 0 <= args.port <= 65535:
        raise UsageError("--port: must be 0 to 65535")
    from taskrig.broker import Address
    from taskrig.texts import host_and_port
    from taskrig.web import StatusPage
    from taskrig.web.server import HttpServer

    address = Address(config.redis, config.queue.key, "taskrig-page")
    with contextlib.closing(StatusPage(config, address)) as page:
        server = HttpServer(
            config.http.host,
            args.port,
            metrics=lambda accept: (b"", "text/plain; version=0.0.4"),
            live=lambda: (True, "ok"),
            ready=lambda: (True, "ok"),
            status=lambda: {"queue": config.queue.key, "serves": "the status page only"},
            page=page,
        )
        ended = threading.Event()
        early.take(lambda *_: ended.set())
        server.start()
        page.start()
        print(f"status page on http://{host_and_port(config.http.host, server.port)}/", flush=True)
        while not ended.wait(3600):
            pass
        server.close()
    return 0
