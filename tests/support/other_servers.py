"""Redis in other shapes: TLS, a Unix socket, Sentinels, a Cluster; each the real thing."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from taskrig_loadgen.chaos.own_server import RedisServer, free_port, server_binary
from tests.support import redis_for_tests
from tests.support.waiting import until


@dataclass(frozen=True)
class Certificates:
    """A private CA and a server certificate for the host name localhost alone."""

    ca: Path
    cert: Path
    key: Path


def make_certificates(folder: Path) -> Certificates:
    """Make them with openssl; skips where there is none."""
    folder.mkdir()

    def openssl(*args: str) -> None:
        try:
            subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)
        except FileNotFoundError:
            pytest.skip("no openssl on the PATH to make certificates with")

    (folder / "san").write_text("subjectAltName=DNS:localhost\n")
    new = ("-newkey", "rsa:2048", "-nodes")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test CA")
    openssl("req", *new, "-keyout", "s.key", "-out", "s.csr", "-subj", "/CN=localhost")
    openssl(
        "x509",
        "-req",
        "-in",
        "s.csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-out",
        "s.crt",
        "-days",
        "2",
        "-extfile",
        "san",
    )
    for file in folder.iterdir():
        file.chmod(0o644)  # the container's user reads them too
    folder.chmod(0o755)
    return Certificates(folder / "ca.crt", folder / "s.crt", folder / "s.key")


def _tls_flags(folder: str) -> list[str]:
    return [
        *("--tls-cert-file", f"{folder}/s.crt", "--tls-key-file", f"{folder}/s.key"),
        *("--tls-ca-cert-file", f"{folder}/ca.crt", "--tls-auth-clients", "optional"),
    ]


@contextlib.contextmanager
def tls_server(folder: Path, certificates: Certificates) -> Iterator[int]:
    """The port of a server that speaks TLS; from an image where Docker answers, else a binary."""
    place = certificates.ca.parent
    if redis_for_tests.docker_answers():
        with _tls_container(place) as port:
            yield port
        return
    port = free_port()
    command = [server_binary(), "--port", "0", "--tls-port", str(port), "--dir", str(folder)]
    process = subprocess.Popen(
        [*command, "--save", "", *_tls_flags(str(place))], stdout=subprocess.DEVNULL
    )
    try:
        _until_tls(port, certificates, process)
        yield port
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _tls_container(place: Path) -> Iterator[int]:
    import os

    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.core.container import DockerContainer

    flags = " ".join(_tls_flags("/tls"))
    container = (
        DockerContainer(redis_for_tests.IMAGE)
        .with_volume_mapping(str(place), "/tls", "ro")
        .with_exposed_ports(6379)
        .with_command(f"redis-server --port 0 --tls-port 6379 --protected-mode no {flags}")
    )
    with container:
        port = int(container.get_exposed_port(6379))
        _until_tls(port, Certificates(place / "ca.crt", place / "s.crt", place / "s.key"), None)
        yield port


def _until_tls(port: int, files: Certificates, process: subprocess.Popen[bytes] | None) -> None:
    client = redis.Redis("localhost", port, ssl=True, ssl_ca_certs=str(files.ca))

    def answers() -> bool:
        if process is not None and process.poll() is not None:
            pytest.skip("the server's binary is built without TLS, and no Docker engine answers")
        with contextlib.suppress(redis.exceptions.ConnectionError):
            return bool(client.ping())
        return False

    until(answers, 20, "the server answers over TLS")
    client.close()


class Sentinels:
    """A master, a replica and three Sentinels that watch them."""

    name = "mymaster"

    def __init__(self, folder: Path) -> None:
        quick = ("--repl-diskless-sync-delay", "0")
        self.master = RedisServer(folder / "master", args=quick).start()
        follows = ("--replicaof", "127.0.0.1", str(self.master.port))
        self.replica = RedisServer(folder / "replica", args=(*quick, *follows)).start()
        self.ports: list[int] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        with self.replica.client() as client:
            until(
                lambda: client.info("replication")["master_link_status"] == "up",
                20,
                "the replica follows",
            )
        for number in range(3):
            self._start_sentinel(folder / f"sentinel{number}")
        until(self._agreed, 20, "the Sentinels know each other and the replica")

    def _start_sentinel(self, folder: Path) -> None:
        folder.mkdir()
        port = free_port()
        (folder / "sentinel.conf").write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {self.name} 127.0.0.1 {self.master.port} 2\n"
            f"sentinel down-after-milliseconds {self.name} 1000\n"
            f"sentinel failover-timeout {self.name} 5000\n"
        )
        self.ports.append(port)
        self._processes.append(
            subprocess.Popen(
                [server_binary(), str(folder / "sentinel.conf"), "--sentinel"],
                stdout=subprocess.DEVNULL,
            )
        )

    def _agreed(self) -> bool:
        for port in self.ports:
            with redis.Redis(port=port) as client, contextlib.suppress(redis.exceptions.RedisError):
                seen = client.sentinel_masters()[self.name]
                if seen["num-other-sentinels"] == 2 and seen["num-slaves"] == 1:
                    continue
            return False
        return True

    def close(self) -> None:
        """End all."""
        for process in self._processes:
            process.kill()
            process.wait()
        self.master.close()
        self.replica.close()


class Cluster:
    """Three masters that share the slots."""

    def __init__(self, folder: Path) -> None:
        buses = [free_port() for _ in range(3)]  # the default, port + 10,000, may not exist
        args = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port")
        self.nodes = [
            RedisServer(folder / f"node{bus}", args=(*args, str(bus))).start() for bus in buses
        ]
        bounds = [(0, 5460), (5461, 10922), (10923, 16383)]
        for node, (first, last) in zip(self.nodes, bounds, strict=True):
            with node.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
                for other, bus in zip(self.nodes, buses, strict=True):
                    client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port, bus)
        for node in self.nodes:
            until(lambda node=node: self._is_ok(node), 20, "the cluster is whole")

    @staticmethod
    def _is_ok(node: RedisServer) -> bool:
        with node.client(decode_responses=True) as client:
            found = client.execute_command("CLUSTER", "INFO")
        if isinstance(found, str):  # depends on redis-py's version
            found = dict(line.split(":") for line in found.split())
        return found["cluster_state"] == "ok" and int(found["cluster_known_nodes"]) == 3

    def owner(self, key: str) -> RedisServer:
        """The node that serves a key."""
        for node in self.nodes:
            with node.client() as client, contextlib.suppress(redis.exceptions.ResponseError):
                client.exists(key)
                return node
        raise AssertionError(f"nobody serves {key}")

    def close(self) -> None:
        """End all."""
        for node in self.nodes:
            node.close()
