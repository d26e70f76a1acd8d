"""What a run ran on: goes into the result, so that two results can be told apart."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskrig.config.problems import SECRETS
from taskrig.texts import without_password
from taskrig_loadgen.connection import REDIS_ERRORS
from taskrig_loadgen.result.model import Environment

if TYPE_CHECKING:
    from taskrig.config.sections import Config

_LIBRARIES = ("taskrig", "redis", "hiredis", "uvloop")
_SERVER_FIELDS = (
    "redis_version",
    "valkey_version",
    "server_name",
    "os",
    "arch_bits",
    "maxmemory_policy",
    "aof_enabled",
    "io_threads_active",
    "redis_mode",
)


_SECRETS = tuple(".".join(map(str, path)) for path in SECRETS)


def safe_command(arguments: list[str]) -> list[str]:
    """A command line without passwords: of URLs, of secret settings and sections that hold one."""
    safe = []
    for before, text in pairwise(["", *arguments]):
        flag = "--set=" if text.startswith("--set=") else ""
        name, equals, _ = text.removeprefix(flag).partition("=")
        is_set = flag or before == "--set"
        hidden = is_set and equals and _is_secret(name.strip())
        safe.append(f"{flag}{name}=***" if hidden else without_password(text))
    return safe


def _is_secret(setting: str) -> bool:
    if setting.endswith("_file"):
        return False
    held = any(secret.startswith(f"{setting}.") for secret in _SECRETS)
    return held or "password" in setting or "token" in setting  # also where it is misspelt


async def describe_environment(client: Any, config: Config) -> Environment:
    """CPU, cores, Python, libraries, server, config hash and git commit; never a secret."""
    return Environment(
        cpu=_cpu(),
        cores=os.cpu_count() or 0,
        load_average=_load_average(),
        os=platform.platform(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        libraries={name: _version(name) for name in _LIBRARIES},
        server=await _server(client),
        redis_url=config.redis.masked_url(),
        config_hash=config.hash(),
        git_commit=_git_commit(),
    )


async def _server(client: Any) -> dict[str, str]:
    try:
        info = await client.info("all")
    except REDIS_ERRORS:  # INFO may be forbidden by an ACL
        return {}
    return {name: str(info[name]) for name in _SERVER_FIELDS if name in info}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _load_average() -> list[float]:
    try:
        return [round(value, 2) for value in os.getloadavg()]
    except OSError:
        return []


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git_commit() -> str:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=2,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
