"""A server or a proxy that refuses a command we can do without: each in turn, in each style.

docs/operations.md has the table of commands; it is what is tested here.
"""

from __future__ import annotations

import contextlib
import re
import socket
from pathlib import Path

import pytest

from taskrig.admin import Inspector
from taskrig.broker import Address, LeaseConnection
from taskrig.broker.produce import Producer
from taskrig.broker.start import check_start
from taskrig.config.load import load_config
from taskrig.task import Outcome
from taskrig_loadgen.connection import connected
from taskrig_loadgen.queueview import look
from taskrig_loadgen.run.environment import describe_environment
from tests.support.brokers import Queue
from tests.support.refusing_proxy import RefusingProxy
from tests.support.servers import RedisServer
from tests.support.waiting import until_async

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def commands_of(rows):
    return {name for row in rows for name in re.findall(r"`([A-Z]+(?: [A-Z]+)?)`", row)}


TABLE = re.search(r"## Redis from a provider(.*?)\n## ", PAGE, re.DOTALL)[1]
ROWS = [line.split("|") for line in TABLE.splitlines() if line.startswith("| `")]
OPTIONAL = sorted(commands_of(row[1] for row in ROWS if row[3].strip() == "optional"))
NEVER = sorted(commands_of([re.search(r"Never sent:(.*?)\. A", TABLE.replace("\n", " "))[1]]))
KNOWN = commands_of(row[1] for row in ROWS)
WHOLE = ["CLIENT", "CONFIG"]  # with all their subcommands


async def everything(url):
    """All that is asked of Redis beside the run of a task's handler."""
    config = load_config(None, env={}, overrides={"redis.url": url})
    address = Address(config.redis, config.queue.key, "taskrig-test")
    await check_start(config, address, lambda line: None)
    with contextlib.closing(LeaseConnection(config, "w1", address)) as lease:
        lease.renew("{}")
        lease.renew("{}")
    Producer(config).push([b'{"type": "a"}', b'{"type": "b"}'])
    queue = Queue(url, None)
    hand = queue.hand("w1")
    try:
        (move,) = hand.broker.moves
        for _ in range(2):
            await hand.claim(1)
            await hand.settle(Outcome.SUCCEEDED, *hand.held)
            with contextlib.suppress(Exception):  # refused itself
                await move.wait(0, 0, 0.01)
            with contextlib.suppress(Exception):
                await move.ask_to_end()
            assert (await hand.run(hand.commands.look())).waiting + len(hand.held) < 2
        await hand.run(hand.commands.leave(hand.id))
    finally:
        await queue.close()
    with contextlib.closing(Inspector(config, address)) as operator:
        seen = operator.survey()
        assert operator.pause("why")
        assert operator.resume()
    async with connected(config) as client:
        await describe_environment(client, config)
        view = await look(client, hand.commands)
    assert seen.totals["succeeded"] == view.totals["succeeded"] == 2


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    one = RedisServer(tmp_path_factory.mktemp("own"), appendonly=False).start()
    yield one
    one.close()


@pytest.fixture
def empty(own):
    with own.client() as client:
        client.flushall()
    return own


def test_the_table_names_what_we_send_and_what_we_never_send():
    assert {"BLMOVE", "CLIENT SETNAME", "CLIENT ID", "CLIENT UNBLOCK", "INFO"} <= set(OPTIONAL)
    assert {"HELLO", "CLIENT SETINFO", "SCRIPT", "OBJECT", "MEMORY"} <= set(NEVER)
    assert not KNOWN & set(NEVER)


# Each in turn; those that are never sent, and all together, at once.
SETS = [*([one] for one in (*OPTIONAL, *WHOLE)), NEVER, [*OPTIONAL, *NEVER]]
in_turn = pytest.mark.parametrize("refused", SETS, ids=lambda refused: "+".join(refused)[:40])


@in_turn
async def test_what_an_acl_refuses_is_done_without(empty, refused):
    rules = ["-" + command.lower().replace(" ", "|") for command in refused]
    with empty.client() as admin:
        admin.execute_command("ACL", "SETUSER", "w", "reset", "on", ">pw", "~*", "+@all", *rules)
    await everything(f"redis://w:pw@127.0.0.1:{empty.port}/0")


@in_turn
@pytest.mark.parametrize("hangs_up", [False, True], ids=["error", "hangs up"])
async def test_what_a_proxy_refuses_is_done_without(empty, refused, hangs_up):
    with contextlib.closing(RefusingProxy(empty.port, refused, hangs_up=hangs_up)) as proxy:
        await everything(proxy.url)
    assert not proxy.seen & set(NEVER)
    assert {one for one in proxy.seen if not {one, one.split()[0]} & KNOWN} == set(), "the table"


@in_turn
async def test_what_was_renamed_away_is_done_without(tmp_path, refused):
    names = {command.split()[0] for command in refused}
    renamed = [part for name in sorted(names) for part in ("--rename-command", name, "")]
    own = RedisServer(tmp_path / "renamed", appendonly=False, args=renamed).start(wait=False)
    with contextlib.closing(own):
        await until_async(lambda: listens(own.port), what="the server listens")
        await everything(own.url)


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False
