"""`make pin`: the images of others by digest, from a real registry; and what is said without."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy.local import compose, ports
from deploy.local.__main__ import main
from tests.deploy.compose_stack import docker, require_compose
from tests.support.waiting import until

VARIABLES = ("REDIS_IMAGE", "PROMETHEUS_IMAGE", "GRAFANA_IMAGE")
SOURCE = "redis:8"  # stands for all three: any image has a digest


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is written, in this test's own folder."""
    require_compose()
    path = tmp_path / "compose.pinned.yaml"
    monkeypatch.setattr(compose, "PINNED", path)
    return path


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A registry on this machine that holds one image under three names; its address."""
    program = shutil.which("docker-registry")
    if program is None:
        why = "no docker-registry on the PATH (Debian: docker-registry)"
        assert not os.environ.get("CI"), why
        pytest.skip(why)
    port = ports.next_free(25000)
    address = f"127.0.0.1:{port}"
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": address},
    }
    (tmp_path / "registry.yaml").write_text(yaml.safe_dump(config))
    log = (tmp_path / "registry.log").open("w")
    server = subprocess.Popen(
        [program, "serve", str(tmp_path / "registry.yaml")], stdout=log, stderr=log
    )
    until(lambda: not ports.is_free(port), 20, lambda: (tmp_path / "registry.log").read_text())
    names = [f"{address}/{name.partition('_')[0].lower()}:8" for name in VARIABLES]
    for name in names:
        docker("tag", SOURCE, name)
        docker("push", "--quiet", name)
    yield address
    docker("image", "rm", *names)
    server.terminate()
    server.wait(20)
    log.close()


def _images_from(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        service = variable.partition("_")[0].lower()
        monkeypatch.setenv(variable, f"{address}/{service}:8")


def test_every_image_of_others_is_pinned_by_the_digest_that_the_registry_tells(
    pinned: Path, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _images_from(registry, monkeypatch)
    assert main(["pin"]) == 0

    services = yaml.safe_load(pinned.read_text())["services"]
    assert set(services) == {"redis", "prometheus", "grafana"}
    for name, service in services.items():
        assert re.fullmatch(rf"{registry}/{name}:8@sha256:[0-9a-f]{{64}}", service["image"]), (
            service
        )
    digest = services["redis"]["image"].partition("@")[2]
    assert digest in docker("image", "inspect", "-f", "{{.RepoDigests}}", f"{registry}/redis:8")
    merged = subprocess.run(
        [*compose._command(("monitoring",)), "config", "--images"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert services["grafana"]["image"] in merged.stdout, "make up takes it"
    assert main(["pin"]) == 0, "and it can be made anew"


def test_without_a_registry_it_says_so_in_one_line_and_changes_nothing(
    pinned: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pinned.write_text("services: {}\n")
    _images_from(f"127.0.0.1:{ports.next_free(25000)}", monkeypatch)
    assert main(["pin"]) == 2

    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert said.startswith("pin: the registry does not tell the digests (")
    assert "nothing was changed" in said
    assert pinned.read_text() == "services: {}\n"
