"""Secrets that are given as the name of a file: `password_file` instead of `password`."""

from __future__ import annotations

from pathlib import Path as FilePath

from worker.config.raw import Layer, Path, Place, Problem, Text, value_at

MAX_BYTES = 64 * 1024

SECRET_FILES: dict[Path, Path] = {
    ("redis", "password_file"): ("redis", "password"),
    ("redis", "sentinel_password_file"): ("redis", "sentinel_password"),
}


def drop_rivals(lower: Layer, upper: Layer) -> Layer:
    """`lower` without a secret that `upper` gives in the other way, as text or as a file."""
    pairs = [*SECRET_FILES.items(), *((b, a) for a, b in SECRET_FILES.items())]
    for given, rival in pairs:
        if value_at(upper.values, given) is not None and rival in lower.places:
            section = value_at(lower.values, rival[:-1])
            if isinstance(section, dict):
                section.pop(rival[-1], None)
            lower.places.pop(rival)
    return lower


def read_secret_files(layer: Layer, folder: FilePath) -> list[Problem]:
    """Put the contents of each secret file in its place; a relative name counts from `folder`."""
    problems = []
    for named, secret in SECRET_FILES.items():
        name, place = value_at(layer.values, named), layer.places.get(named)
        if place is None or not isinstance(name, str) or not name:
            continue
        path = None if place.names == named else named
        if value_at(layer.values, secret) is not None:
            text = f"give either {secret[-1]} or {named[-1]}, not both"
            problems.append(Problem(place.where, text, path))
            continue
        text, trouble = _secret(folder / name)
        if trouble:
            problems.append(Problem(place.where, trouble, path))
        else:
            layer.put(secret, Text(text), Place(place.where, place.origin))
    return problems


def _secret(path: FilePath) -> tuple[str, str | None]:
    """The secret in a file: a trailing newline is not part of it."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable file name"
        return "", f"the file cannot be read ({reason})"
    if len(raw) > MAX_BYTES:
        return "", f"the file is larger than {MAX_BYTES // 1024} KiB"
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return "", "the file is not UTF-8 text"
    text = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    return (text, None) if text else ("", "the file is empty")
