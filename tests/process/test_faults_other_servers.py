"""TLS, least privilege, a Unix socket, Sentinels and a Cluster: each against the real thing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import redis

from tests.support.other_servers import Cluster, Sentinels, make_certificates, tls_server
from tests.support.waiting import until
from tests.support.world import World

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tls(tmp_path):
    certificates = make_certificates(tmp_path / "tls")
    with tls_server(tmp_path, certificates) as port:
        yield port, str(certificates.ca)


@pytest.fixture
def tls_world(tls, tmp_path):
    port, ca = tls
    world = World(f"rediss://localhost:{port}/0?ssl_ca_certs={ca}", tmp_path)
    yield world
    world.close()


def test_a_worker_speaks_tls_to_a_server_with_a_private_ca(tls, tls_world):
    port, ca = tls
    tls_world.enqueue("note", 20)
    secure = {"url": f"rediss://localhost:{port}/0", "tls_ca_file": ca}
    worker = tls_world.start_worker(redis=secure)
    tls_world.all_settled()
    assert worker.drain() == 0


@pytest.mark.parametrize("wrong", ["host name", "authority"])
def test_a_certificate_for_another_host_or_of_an_unknown_ca_is_refused(tls, tls_world, wrong):
    port, ca = tls
    tls_world.enqueue("note", 3)
    host, trusted = (
        ("127.0.0.1", {"tls_ca_file": ca}) if wrong == "host name" else ("localhost", {})
    )
    worker = tls_world.start_worker(
        wait=False, redis={"url": f"rediss://{host}:{port}/0", "connect_timeout": "1s", **trusted}
    )
    assert worker.exit_code(15) == 3, worker.log()
    assert "certificate" in worker.log().lower()
    assert "Traceback" not in worker.log()
    assert tls_world.waiting() == 3


def test_checks_can_be_turned_off_one_by_one_and_only_explicitly(tls, tls_world):
    port, ca = tls
    for loose in ({"tls_ca_file": ca, "tls_check_hostname": False}, {"tls_verify": False}):
        worker = tls_world.start_worker(redis={"url": f"rediss://127.0.0.1:{port}/0", **loose})
        tls_world.enqueue("note", 3)
        tls_world.all_settled()
        assert worker.drain() == 0


def test_the_documented_least_privilege_is_enough(server, world_on):
    text = (ROOT / "docs" / "protocol.md").read_text()
    found = re.search(r"ACL SETUSER worker on >secret([^`]*)```", text)
    assert found, "docs/protocol.md shows the user's rights"
    own = server()
    with own.client() as admin:
        admin.execute_command("ACL", "SETUSER", "worker", "on", ">secret", *found[1].split())
    world = world_on(own.url)
    limited = {"url": f"redis://127.0.0.1:{own.port}/0", "username": "worker", "password": "secret"}
    world.enqueue("note", 20)
    world.push("not json")
    world.enqueue("reject", id="fails")
    world.enqueue("gate", id="held", extra={"run": "acl:1"})
    doomed = world.start_worker("doomed", redis=limited)
    until(lambda: world.runs()["held"], what="a task is held")
    doomed.kill()
    world.open_gate()
    rescuer = world.start_worker("rescuer", redis=limited)
    world.all_settled()
    assert rescuer.drain() == 0
    for name in ("doomed", "rescuer"):
        log = (world.folder / f"{name}.log").read_text()
        assert "NOPERM" not in log
        assert "ermission" not in log


def test_rights_that_are_taken_away_are_survived_or_end_in_exit_3(server, world_on):
    own = server()
    with own.client() as admin:
        admin.execute_command("ACL", "SETUSER", "w", "on", ">pw", "~*", "+@all")
        world = world_on(own.url)
        limited = {"url": f"redis://127.0.0.1:{own.port}/0", "username": "w", "password": "pw"}
        worker = world.start_worker(redis=limited)
        admin.execute_command("ACL", "SETUSER", "w", "-evalsha", "-eval")
        world.enqueue("note", 5)
        until(lambda: not worker.alive or worker.get("/readyz")[0] == 503, 15, "it is noticed")
        admin.execute_command("ACL", "SETUSER", "w", "+@all")
    until(lambda: not worker.alive or world.settled() == 5, 20, "recovered or ended")
    if not worker.alive:
        assert worker.exit_code() == 3
        world.start_worker("next")
    world.all_settled()


def test_a_unix_socket_serves_as_well(server, world_on, tmp_path):
    path = tmp_path / "r.sock"
    own = server(args=("--unixsocket", str(path)))
    world = world_on(own.url)
    world.enqueue("note", 20)
    worker = world.start_worker(redis={"url": f"unix://{path}"})
    world.all_settled()
    own.stop()
    own.start()
    world.enqueue("note", 5)
    world.all_settled()
    assert worker.drain() == 0


@pytest.fixture
def sentinels(tmp_path):
    made = Sentinels(tmp_path / "sentinel")
    yield made
    made.close()


def _role(client):
    try:
        return client.info("replication")["role"]
    except redis.exceptions.ConnectionError:  # a promotion cuts every client off
        return "not known"


def test_a_failover_by_sentinels_under_load_loses_nothing(sentinels, world_on):
    world = world_on(sentinels.master.url)
    places = {
        "url": "redis://sentinel/0",
        "sentinels": [f"127.0.0.1:{port}" for port in sentinels.ports],
        "sentinel_master": sentinels.name,
    }
    worker = world.start_worker(concurrent=5, redis=places)
    for turn in range(20):
        world.enqueue("sleep", id=turn, s=0.1)
        assert world.redis.wait(1, 2000) == 1, "a push that was not replicated is Redis's loss"
    until(lambda: world.settled() >= 5, what="some are done")
    sentinels.master.kill()
    world.redis.close()
    world.redis = sentinels.replica.client()
    until(lambda: _role(world.redis) == "master", 30, "the failover is done")
    for index in range(20, 40):
        world.enqueue("note", id=index)
    until(lambda: set(range(40)) <= set(world.runs()), 30, "every task has run")
    until(lambda: world.waiting() + world.in_flight() == 0, 30, "the queue is empty")
    assert worker.drain() == 0


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path / "cluster")
    yield made
    made.close()


def test_a_worker_finds_its_queue_in_a_cluster_from_any_node(cluster, world_on):
    owner = cluster.owner("async_tasks")
    world = world_on(owner.url)
    other = next(node for node in cluster.nodes if node is not owner)
    world.enqueue("note", 20)
    world.push("not json")
    worker = world.start_worker(redis={"url": other.url, "cluster": True})
    world.all_settled()
    owner.stop()
    until(lambda: worker.get("/readyz")[0] == 503, 15, "the outage is noticed")
    owner.start()
    until(lambda: cluster._is_ok(owner), 20, "the cluster is whole again")
    world.redis = redis.Redis.from_url(owner.url)
    world.enqueue("note", 10)
    world.all_settled(30)
    assert worker.drain() == 0
