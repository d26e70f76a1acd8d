"""With a Docker engine: the Compose file beside this folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from deploy.local import ports
from deploy.local.processes import CannotStart
from deploy.local.state import ROOT, RUN, Settings, State

FILE = ROOT / "deploy" / "compose.yaml"
PINNED = FILE.with_name("compose.pinned.yaml")
FOREIGN = ("redis", "prometheus", "grafana")  # services whose images others make
UP_WAIT_S = 120
BUILD_S = 900.0


class NoImages(Exception):
    """The engine answers, but an image can be neither pulled nor built; the message says why."""


def unusable() -> str:
    """Why Compose cannot be used here; empty when it can."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    answered = _quietly("docker", "version", "--format", "{{.Server.Version}}")
    if answered.returncode != 0:
        return "no Docker engine answers"
    if _quietly("docker", "compose", "version").returncode != 0:
        return "docker has no compose plugin (version 2 or newer)"
    return ""


def up(settings: Settings, state: State, say: Callable[[str], None]) -> None:
    """Build and pull, then start and wait until all are healthy.

    Raises:
        NoImages: no registry and no image here.
        CannotStart: a port is taken, or a container does not become healthy.
    """
    # It never shrinks while they run: another range of ports would start every worker anew.
    last_port = max(state.last_port, settings.port + settings.workers - 1)
    env = _environment(settings, last_port)
    say("Docker engine: building the worker's image (the first time takes a minute)")
    profiles = _with_images(settings.profiles or (), env, say)
    _require_ports(settings, profiles)
    done = _compose((), "build", env=env, timeout_s=BUILD_S)
    if done.returncode != 0:
        raise NoImages(_last_line(done))
    before = replace(state)
    state.how, state.redis_port, state.server = "compose", settings.redis_port, "Compose"
    state.last_port, state.asked = last_port, settings
    state.save()
    scale = ["--scale", f"worker={settings.workers}"]
    waiting = ["up", "--detach", "--wait", "--wait-timeout", str(UP_WAIT_S), *scale]
    done = _compose(profiles, *waiting, env=env, timeout_s=UP_WAIT_S + 60.0)
    if done.returncode != 0:
        raise _not_started(_last_line(done), before)
    say(f"started with Compose: Redis on 127.0.0.1:{settings.redis_port}")
    for line in addresses():
        say(line)


def _not_started(why: str, before: State) -> CannotStart:
    """What to say; where nothing runs, no container and no state is left behind."""
    if before.how or _containers():
        return CannotStart(
            f"Compose could not start everything: {why} "
            f"(make ps and make logs show more; all of it is in .run/compose.log)"
        )
    down()
    before.save()
    return CannotStart(
        f"Compose could not start anything: {why} "
        f"(all of it is in .run/compose.log; HOW=native does without Docker)"
    )


def _require_ports(settings: Settings, profiles: tuple[str, ...]) -> None:
    """No port that is wanted may be another program's."""
    wanted = [("REDIS_PORT", "Redis", settings.redis_port)]
    for n in range(settings.workers):
        wanted.append(("PORT", "a worker's metrics", settings.port + n))
    if profiles:
        wanted.append(("PROMETHEUS_PORT", "Prometheus", settings.prometheus_port))
    if "monitoring" in profiles:
        wanted.append(("GRAFANA_PORT", "Grafana", settings.grafana_port))
    ours = {
        published.get("PublishedPort")
        for container in _containers()
        for published in container.get("Publishers") or []
    }
    for variable, purpose, port in wanted:
        if port not in ours:
            ports.require_free(port, purpose=purpose, variable=variable)


def addresses() -> list[str]:
    """A line for each HTTP address that is published on this machine."""
    paths = {"worker": "/metrics"}
    return [
        f"{container['Name']}: http://127.0.0.1:{published['PublishedPort']}"
        f"{paths.get(str(container['Service']), '/')}"
        for container in _containers()
        if container["Service"] != "redis"
        for published in container.get("Publishers") or []
        if published.get("PublishedPort")
    ]


def down(*, volumes: bool = False) -> None:
    """Stop and remove the containers; the volumes only when asked.

    Raises:
        CannotStart: the engine refused.
    """
    extra = ["--volumes"] if volumes else []
    done = _compose(("*",), "down", "--remove-orphans", *extra, timeout_s=180.0)
    if done.returncode != 0:
        raise CannotStart(f"docker compose down failed: {_last_line(done)}")


def pin() -> dict[str, str]:
    """Write the digests of the foreign images to compose.pinned.yaml; returns image by service.

    Raises:
        CannotStart: no engine, or no registry that knows the images.
    """
    if why := unusable():
        raise CannotStart(why)
    command = ["docker", "compose", "--file", str(FILE), "--profile", "*", "config"]
    done = subprocess.run(
        [*command, "--format", "json", "--lock-image-digests", *FOREIGN],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        why = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise CannotStart(f"the registry does not tell the digests ({why}); nothing was changed")
    services = json.loads(done.stdout)["services"]
    images = {name: str(services[name]["image"]) for name in FOREIGN}
    lines = [f'  {name}: {{image: "{image}"}}' for name, image in images.items()]
    head = "# Made by `make pin`. `make up` takes it into account; delete it to be free of it."
    PINNED.write_text("\n".join([head, "services:", *lines, ""]))
    return images


def ps() -> None:
    """Show the containers as Compose lists them."""
    subprocess.run([*_command(("*",)), "ps", "--all"], cwd=ROOT, check=False)


def follow_logs() -> int:
    """Show the containers' logs as they come, until Ctrl-C."""
    return subprocess.run([*_command(("*",)), "logs", "--follow"], cwd=ROOT, check=False).returncode


def _with_images(
    profiles: tuple[str, ...], env: dict[str, str], say: Callable[[str], None]
) -> tuple[str, ...]:
    """The profiles whose images are here or can be pulled; what is left out is said.

    Raises:
        NoImages: not even Redis is to be had.
    """
    pull = ("pull", "--ignore-buildable", "--policy", "missing")
    why = ""
    for fewer in (profiles, ("prometheus",) if profiles == ("monitoring",) else (), ()):
        done = _compose(fewer, *pull, env=env, timeout_s=BUILD_S)
        if done.returncode == 0:
            if why:
                left = "Grafana" if fewer else "Prometheus and Grafana"
                say(f"without {left}: an image cannot be had ({why})")
            return fewer
        why = _last_line(done)
    raise NoImages(why)


def _command(profiles: tuple[str, ...]) -> list[str]:
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    files = [str(path) for path in (FILE, PINNED) if path is FILE or path.exists()]
    return ["docker", "compose", *(f"--file={path}" for path in files), *chosen]


def _environment(settings: Settings, last_port: int) -> dict[str, str]:
    return {
        **os.environ,
        **settings.worker_settings(),
        "REDIS_PORT": str(settings.redis_port),
        "PORT": str(settings.port),
        "LAST_PORT": str(last_port),
        "PROMETHEUS_PORT": str(settings.prometheus_port),
        "GRAFANA_PORT": str(settings.grafana_port),
        "CA_BUNDLE": ca_bundle(),
    }


def ca_bundle() -> str:
    """The certificates that pip trusts here, where they were set: the build needs the same."""
    named = (os.environ.get(name) for name in ("CA_BUNDLE", "PIP_CERT", "SSL_CERT_FILE"))
    return next((path for path in named if path and os.path.isfile(path)), os.devnull)


def _compose(
    profiles: tuple[str, ...], *words: str, env: dict[str, str] | None = None, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a Compose command; what it says goes to `.run/compose.log`."""
    command = [*_command(profiles), *words]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, f"no end within {timeout_s:g} s", "")
    RUN.mkdir(parents=True, exist_ok=True)
    with (RUN / "compose.log").open("a") as log:
        log.write(f"$ {' '.join(command)}\n{done.stdout}\n")
    return done


def _containers() -> list[dict[str, Any]]:
    """The project's running containers, a JSON object each (one a line since Compose 2.21)."""
    said = _quietly(*_command(("*",)), "ps", "--format", "json").stdout
    found = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return sorted(found, key=lambda container: str(container["Name"]))


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit {done.returncode} without a word"


def _quietly(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", "")
