"""systemd, supervisor, Kubernetes and Compose: valid, and with one order of stopping."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from taskrig.config.load import load_config
from taskrig.config.sections import WorkerConfig
from taskrig.keys import Keys
from tests.deploy.npm_check import NpmCheck
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "taskrig-worker.service"
KEYS = Keys.of("async_tasks")
OVERLAYS = ("small", "production")
BASE = DEPLOY / "kubernetes" / "base"
PASSWORD_FILE = "TASKRIG_REDIS__PASSWORD_FILE"


def seconds(text: str) -> float:
    """`40s`, `2min` and `40` in seconds."""
    number, unit = re.fullmatch(r"(\d+)\s*(s|min)?", str(text)).groups()  # type: ignore[union-attr]
    return float(number) * (60 if unit == "min" else 1)


def ini(path: Path) -> configparser.RawConfigParser:
    """A unit or supervisor file; of a key that is repeated the last one counts."""
    parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser


def manifests(folder: Path) -> list[dict[str, Any]]:
    """Every object of every file in a folder of manifests."""
    return [
        document
        for path in sorted(folder.rglob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
        if document and "kind" in document
    ]


# ---- one invariant across every file -----------------------------------------------------------


def graces() -> dict[str, float]:
    """How long each way of running waits between asking to stop and killing, in seconds."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["worker"]
    (deployment,) = (
        m for m in manifests(DEPLOY / "kubernetes" / "base") if m["kind"] == "Deployment"
    )
    program = ini(DEPLOY / "supervisor" / "taskrig.conf")["program:taskrig-worker"]
    return {
        "compose stop_grace_period": seconds(compose["stop_grace_period"]),
        "kubernetes terminationGracePeriodSeconds": float(
            deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        ),
        "systemd TimeoutStopSec": seconds(ini(UNIT)["Service"]["TimeoutStopSec"]),
        "supervisor stopwaitsecs": float(program["stopwaitsecs"]),
    }


def drain_timeouts() -> dict[str, float]:
    """worker.drain_timeout wherever it is written down, in seconds."""
    files = [ROOT / "config.yaml", DEPLOY / "kubernetes" / "base" / "config.yaml"]
    written = {
        str(path.relative_to(ROOT)): seconds(
            yaml.safe_load(path.read_text())["worker"]["drain_timeout"]
        )
        for path in files
    }
    return {**written, "the default": WorkerConfig().drain_timeout_s}


@pytest.mark.parametrize("way", graces())
def test_every_way_of_running_waits_longer_than_the_drain_lasts(way: str) -> None:
    settling_s = 5  # for the last exchange after the drain
    assert graces()[way] >= max(drain_timeouts().values()) + settling_s


def test_every_file_says_the_same_drain_timeout_and_the_same_grace() -> None:
    assert len(set(drain_timeouts().values())) == 1, drain_timeouts()
    assert len(set(graces().values())) == 1, graces()


def test_the_compose_file_asks_for_nothing_that_engines_before_25_refuse() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert not [name for name in services if "start_interval" in services[name]["healthcheck"]]


# ---- systemd -----------------------------------------------------------------------------------


def _systemd_analyze(*words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on this machine")
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False
    )


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/taskrig/bin/worker", shutil.which("true") or ""))
    done = _systemd_analyze("verify", "--man=no", str(unit))

    ours = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert ours == []


def test_the_unit_is_exposed_by_two_points_of_ten_at_most() -> None:
    done = _systemd_analyze("security", "--offline=true", "--threshold=20", str(UNIT))

    assert done.returncode == 0, done.stdout
    print(done.stdout.strip().splitlines()[-1])


def test_the_unit_starts_the_worker_with_readiness_and_a_watchdog() -> None:
    service = ini(UNIT)["Service"]
    assert service["Type"] == "notify"
    assert seconds(service["WatchdogSec"]) >= 30
    assert service["RestartPreventExitStatus"] == "2"


# ---- supervisor --------------------------------------------------------------------------------


Supervised = Callable[..., Callable[..., str]]


@pytest.fixture
def supervised(tmp_path: Path, redis_url: str) -> Iterator[Supervised]:
    """Start a real supervisord with our program file; gives its supervisorctl."""
    daemons = []

    def start(command: str = f"{sys.executable} -m taskrig") -> Callable[..., str]:
        conf = _supervisor_conf(tmp_path, command)
        folder = Path(sys.executable).parent
        env = {**os.environ, "TASKRIG_REDIS__URL": redis_url}
        words = [str(folder / "supervisord"), "-c", str(conf)]
        daemons.append(subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL))

        def control(*words: str) -> str:
            return subprocess.run(
                [str(folder / "supervisorctl"), "-c", str(conf), *words],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            ).stdout

        return control

    yield start
    for daemon in daemons:
        daemon.terminate()
        daemon.wait(60)


def _supervisor_conf(tmp_path: Path, command: str) -> Path:
    """Our program file with its command, paths and port made this test's own."""
    text = (DEPLOY / "supervisor" / "taskrig.conf").read_text()
    for theirs, ours in {
        "/opt/taskrig/bin/worker": command,
        "/etc/taskrig/config.yaml": str(ROOT / "config.yaml"),
        "directory=/etc/taskrig": f"directory={ROOT}",
        "user=taskrig\n": "",
        "http.port=946%(process_num)d": "http.port=0",
        "/var/log/supervisor": str(tmp_path),
    }.items():
        assert theirs in text
        text = text.replace(theirs, ours)
    conf = tmp_path / "supervisord.conf"
    conf.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile={tmp_path}/supervisord.log\n"
        f"pidfile={tmp_path}/pid\nchildlogdir={tmp_path}\n"
        f"[unix_http_server]\nfile={tmp_path}/s\n"
        f"[supervisorctl]\nserverurl=unix://{tmp_path}/s\n[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n" + text
    )
    return conf


def _that_ends_with(code: str, folder: Path) -> str:
    """A program that writes a line to `starts` each time it is started, and ends so."""
    program = folder / "program"
    program.write_text(f"#!/bin/sh\necho started >> {folder}/starts\n{code}\n")
    program.chmod(0o755)
    return str(program)


def _starts(folder: Path) -> int:
    path = folder / "starts"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize("code", [0, 2])
def test_supervisor_does_not_start_again_what_ended_as_wished_or_is_configured_wrong(
    supervised: Supervised, tmp_path: Path, code: int
) -> None:
    control = supervised(_that_ends_with(f"exit {code}", tmp_path))
    until(lambda: re.search("EXITED|BACKOFF", control("status")), 20, "it to have ended")

    assert "; expected" in (tmp_path / "supervisord.log").read_text()
    assert _starts(tmp_path) == 1


@pytest.mark.parametrize("ending", ["exit 3", "exit 1", "kill -9 $$"])
def test_supervisor_starts_again_what_fails_and_never_gives_up(
    supervised: Supervised, tmp_path: Path, ending: str
) -> None:
    control = supervised(_that_ends_with(ending, tmp_path))
    seen = ""
    while _starts(tmp_path) < 4:
        seen += control("status")

    assert "BACKOFF" not in seen  # there the retries are counted, and at startretries it is FATAL


def test_supervisor_starts_the_worker_and_stops_it_cleanly(
    supervised: Supervised, tmp_path: Path
) -> None:
    control = supervised()
    until(lambda: "RUNNING" in control("status"), 20, lambda: control("status"))
    path = tmp_path / "taskrig-worker-4.log"
    until(lambda: "started:" in path.read_text(), 20, "it has begun to work")
    control("stop", "all")

    log = path.read_text()
    assert "SIGTERM: draining" in log
    assert "exit 0" in log


# ---- Kubernetes --------------------------------------------------------------------------------


def rendered(overlay: str) -> list[dict[str, Any]]:
    """What kustomize makes of an overlay; but in CI, skips where there is no kustomize."""
    folder = str(DEPLOY / "kubernetes" / "overlays" / overlay)
    if shutil.which("kustomize"):
        command = ["kustomize", "build", folder]
    elif shutil.which("kubectl"):
        command = ["kubectl", "kustomize", folder]
    else:
        why = "neither kubectl nor kustomize is on this machine"
        assert not os.environ.get("CI"), why
        pytest.skip(why)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def is_custom(manifest: dict[str, Any]) -> bool:
    """Whether it is a resource of KEDA or of the Prometheus operator."""
    return manifest["apiVersion"].split("/")[0] in ("keda.sh", "monitoring.coreos.com")


def validate(manifest: dict[str, Any]) -> None:
    """By Kubernetes' own schema, unknown fields refused; what it does not know is left out."""
    if not is_custom(manifest) and manifest["kind"] not in ("Kustomization", "Component"):
        kubernetes_validate.validate(manifest, "1.33", strict=True)


@pytest.fixture(scope="module")
def custom_resources(tmp_path_factory: pytest.TempPathFactory) -> NpmCheck:
    """Checks KEDA's and the Prometheus operator's resources against their published types."""
    return NpmCheck("custom-resources", tmp_path_factory.mktemp("npm"))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_an_overlay_makes_is_valid(overlay: str) -> None:
    made = rendered(overlay)
    for manifest in made:
        validate(manifest)
    assert {"Deployment", "PodDisruptionBudget", "NetworkPolicy"} <= {m["kind"] for m in made}


def test_what_keda_and_the_prometheus_operator_get_is_valid(custom_resources: NpmCheck) -> None:
    made = [manifest for manifest in rendered("production") if is_custom(manifest)]
    assert {m["kind"] for m in made} == {"ScaledObject", "TriggerAuthentication", "PodMonitor"}
    done = custom_resources.run(given=json.dumps(made))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_field_that_they_do_not_know_or_a_wrong_value_would_be_found(
    custom_resources: NpmCheck,
) -> None:
    scaled, monitor = (
        next(m for m in manifests(DEPLOY / "kubernetes") if m["kind"] == kind)
        for kind in ("ScaledObject", "PodMonitor")
    )
    scaled["spec"]["advanced"]["scalingModifiers"]["formulas"] = "waiting"
    del scaled["spec"]["triggers"][0]["type"]
    monitor["spec"]["podMetricsEndpoints"][0]["interval"] = "15 seconds"
    done = custom_resources.run(given=json.dumps([scaled, monitor]))
    assert done.returncode == 1, done.stdout + done.stderr
    for fault in ('"formulas"\' does not exist', "type", "interval must match"):
        assert fault in done.stdout


def test_every_manifest_is_valid_as_it_stands() -> None:
    for manifest in manifests(DEPLOY / "kubernetes"):
        validate(manifest)


def test_an_unknown_field_would_be_found() -> None:
    (deployment,) = (
        m for m in manifests(DEPLOY / "kubernetes" / "base") if m["kind"] == "Deployment"
    )
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(deployment)


def test_the_pod_is_restricted_and_its_probes_ask_different_questions() -> None:
    (deployment,) = (
        m for m in manifests(DEPLOY / "kubernetes" / "base") if m["kind"] == "Deployment"
    )
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert "replicas" not in deployment["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    probes = {
        k: container[f"{k}Probe"]["httpGet"]["path"] for k in ("startup", "liveness", "readiness")
    }
    assert probes == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}


def test_the_secrets_password_reaches_the_worker_whether_a_newline_ends_it_or_not(
    tmp_path: Path,
) -> None:
    made = {m["kind"]: m for m in rendered("production")}
    pod = made["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    file = Path({e["name"]: e.get("value") for e in container["env"]}[PASSWORD_FILE])
    (mount,) = (m for m in container["volumeMounts"] if m["mountPath"] == str(file.parent))
    (volume,) = (v for v in pod["volumes"] if v["name"] == mount["name"])
    (ours,) = volume["secret"]["items"]
    (kedas,) = made["TriggerAuthentication"]["spec"]["secretTargetRef"]
    assert (volume["secret"]["secretName"], ours["key"]) == (kedas["name"], kedas["key"])
    assert ours["path"] == file.name

    (tmp_path / file.name).write_text("s3cret\n")
    env = {"REDIS_URL": "rediss://redis:6379/0", PASSWORD_FILE: str(tmp_path / file.name)}
    config = load_config(DEPLOY / "kubernetes" / "base" / "config.yaml", env=env)
    assert config.redis.password is not None
    assert config.redis.password.get_secret_value() == "s3cret"


def test_the_network_policy_lets_out_to_redis_with_tls_and_to_sentinels() -> None:
    (policy,) = (m for m in manifests(BASE) if m["kind"] == "NetworkPolicy")
    assert {p["port"] for rule in policy["spec"]["egress"] for p in rule["ports"]} == {
        53,
        6379,
        6380,
        26379,
    }


def test_the_autoscaler_counts_what_waits_and_what_runs() -> None:
    (scaled,) = (
        m for m in manifests(DEPLOY / "kubernetes" / "keda") if m["kind"] == "ScaledObject"
    )
    modifiers = scaled["spec"]["advanced"]["scalingModifiers"]
    lists = {t["name"]: t["metadata"]["listName"] for t in scaled["spec"]["triggers"]}

    assert set(re.findall(r"\w+", modifiers["formula"])) == set(lists)
    assert lists == {"waiting": KEYS.queue, "redelivered": KEYS.redeliver, "running": KEYS.inflight}
