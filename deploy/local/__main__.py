"""python -m deploy.local up|down|ps|logs|load|demo|pin|clean (what the make targets call)."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

from deploy.local import compose, native, ports
from deploy.local.processes import CannotStart
from deploy.local.state import ROOT, Settings, State, alone

CARD_MIX = "fast=3,medium=2,slow=2"
_WAYS = {"compose": "with Compose", "native": "without Docker"}


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Exit codes: 0 good, 2 cannot, 130 interrupted; loadgen's own for load."""
    options = _parser().parse_args(arguments)
    command = {
        "up": up,
        "down": down,
        "ps": ps,
        "logs": logs,
        "load": load,
        "demo": demo,
        "pin": pin,
        "clean": clean,
    }[options.command]
    try:
        return command(options)
    except CannotStart as problem:
        print(f"{options.command}: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def up(options: argparse.Namespace) -> int:
    """Start Redis and the workers, by Compose where an engine answers, else natively."""
    with alone():
        state = State.load()
        settings = _settings(options, state)
        if settings.profiles is None:
            settings = replace(settings, profiles=("monitoring",))
        _start(settings, state)
    print("next: make load, make ps, make logs, make down")
    return 0


def down(_: argparse.Namespace) -> int:
    """Stop what `up` started; data stays."""
    with alone():
        state = State.load()
        if not state.how:
            print("nothing of ours is running")
            return 0
        if state.how == "compose":
            compose.down()
        native.down(state, print)
        State(redis_port=state.redis_port).save()
    print("stopped; the queue's data stays (make clean removes it)")
    return 0


def ps(_: argparse.Namespace) -> int:
    """Show what runs."""
    state = State.load()
    if state.how == "compose":
        compose.ps()
    else:
        print("\n".join(native.ps(state)) or "nothing of ours is running: make up")
    return 0


def logs(_: argparse.Namespace) -> int:
    """Follow the logs until Ctrl-C."""
    state = State.load()
    if state.how == "compose":
        return compose.follow_logs()
    files = native.logs(state)
    if not files:
        print("nothing of ours is running: make up")
        return 0
    return subprocess.run(["tail", "-n", "50", "-F", *map(str, files)], check=False).returncode


def load(options: argparse.Namespace) -> int:
    """Push a mix to the running queue and report."""
    state = State.load()
    if not state.how:
        raise CannotStart("nothing of ours is running: make up first")
    return _loadgen(state, options.mix)


def demo(options: argparse.Namespace) -> int:
    """Everything at once: start, push the card's mix, report, say where the metrics are."""
    with alone():
        state = State.load()
        settings = _settings(options, state)
        if not state.how:
            settings = _with_free_ports(settings, options)
        _start(settings, state)
    print(f"\npushing {options.mix}")
    code = _loadgen(state, options.mix)
    by_compose = state.how == "compose"
    where = compose.addresses() if by_compose else native.addresses(state)
    print("", *where, sep="\n")
    print("it is all still running. Again: make load. Watch: make logs. Stop: make down")
    return code


def pin(_: argparse.Namespace) -> int:
    """Write down by digest which images of others are run."""
    for name, image in compose.pin().items():
        print(f"{name}: {image}")
    print("written: deploy/compose.pinned.yaml")
    return 0


def clean(_: argparse.Namespace) -> int:
    """Stop, and delete the queue's data."""
    with alone():
        state = State.load()
        native.down(state, print)
        if state.how == "compose" or not compose.unusable():
            compose.down(volumes=True)
    native.remove_data()
    return 0


def _start(settings: Settings, state: State) -> None:
    """As what runs already was started; else with Compose if that can be; else natively."""
    how = state.how or settings.how
    if state.how and settings.how not in ("auto", state.how):
        raise CannotStart(f"it runs already, {_WAYS[state.how]}: make down first")
    why_not = "" if how == "native" else compose.unusable()
    if how != "native" and not why_not:
        try:
            compose.up(settings, state, print)
            return
        except compose.NoImages as problem:
            why_not = f"an image cannot be had ({problem})"
    if how == "compose":
        raise CannotStart(f"Compose cannot be used: {why_not}")
    if why_not:
        print(f"{why_not}: running without Docker")
    native.up(settings, state, print)


def _with_free_ports(settings: Settings, options: argparse.Namespace) -> Settings:
    """For a demo any ports do, where none was asked for: say which."""
    chosen = settings
    if options.redis_port is None and not ports.is_free(settings.redis_port):
        chosen = replace(chosen, redis_port=ports.next_free(settings.redis_port))
        print(f"port {settings.redis_port} is taken: Redis gets {chosen.redis_port}")
    if options.port is None and not ports.is_free(settings.port):
        chosen = replace(chosen, port=ports.next_free(settings.port))
        print(f"port {settings.port} is taken: the metrics get {chosen.port}")
    return chosen


def _loadgen(state: State, mix: str) -> int:
    program = [sys.executable, "-m", "taskrig_loadgen"]
    command = [*program, "--mix", mix, "--redis-url", state.redis_url]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def _settings(options: argparse.Namespace, state: State) -> Settings:
    """The flags over what was asked for when it was started over the defaults."""
    given = {
        name: value
        for name in Settings.__dataclass_fields__
        if (value := getattr(options, name)) is not None
    }
    asked = state.asked if state.how and state.asked else Settings()
    return replace(asked, **{"how": "auto", **given})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deploy.local", description=__doc__)
    parser.add_argument(
        "command", choices=("up", "down", "ps", "logs", "load", "demo", "pin", "clean")
    )
    parser.add_argument("--how", choices=("auto", "compose", "native"), help="default: auto")
    parser.add_argument("--redis-port", type=_port, help="default: 6379")
    parser.add_argument("--port", type=_port, help="of the first worker's metrics; default: 9464")
    parser.add_argument("--prometheus-port", type=_port, help="with Compose; default: 9090")
    parser.add_argument("--grafana-port", type=_port, help="with Compose; default: 3000")
    parser.add_argument("--workers", type=_count_up_to(100), help="default: 1")
    parser.add_argument(
        "--max-concurrent", type=_count_up_to(100_000), help="default: as in config.yaml"
    )
    parser.add_argument(
        "--profiles", type=_profiles, help="with Compose: plain, prometheus, monitoring"
    )
    parser.add_argument("--mix", default=CARD_MIX, help=f"default: {CARD_MIX}")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"must be a port from 1 to 65535, got {text!r}")
    return int(text)


def _count_up_to(most: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from 1 to {most}, got {text!r}"
            )
        return int(text)

    return count


def _profiles(text: str) -> tuple[str, ...]:
    known = ("plain", "monitoring", "prometheus")
    chosen = tuple(text.replace(",", " ").split())
    if unknown := [name for name in chosen if name not in known]:
        raise argparse.ArgumentTypeError(f"unknown {unknown[0]!r}; there are: {', '.join(known)}")
    return tuple(name for name in chosen if name != "plain")


if __name__ == "__main__":
    sys.exit(main())
