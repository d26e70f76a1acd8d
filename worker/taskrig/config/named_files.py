"""Settings that name a file or folder: secrets (`password_file`, not `password`), TLS, roots."""

from __future__ import annotations

from pathlib import Path as FilePath

from taskrig.config.raw import Layer, Path, Place, Problem, Text, value_at

MAX_BYTES = 2**20  # a bundle of all the CAs of the world has a fifth of this

SECRET_FILES: dict[Path, Path] = {
    ("redis", "password_file"): ("redis", "password"),
    ("redis", "sentinel_password_file"): ("redis", "sentinel_password"),
    ("email", "password_file"): ("email", "password"),
    ("http", "token_file"): ("http", "token"),
}
TLS_FILES: tuple[Path, ...] = (
    ("redis", "tls_ca_file"),
    ("redis", "tls_cert_file"),
    ("redis", "tls_key_file"),
    ("email", "tls_ca_file"),
)
FOLDERS: tuple[Path, ...] = (("files", "root"),)  # looked at by the handler, when it is there


def drop_rivals(lower: Layer, upper: Layer) -> Layer:
    """`lower` without a secret that `upper` gives in the other way, as text or as a file."""
    pairs = [*SECRET_FILES.items(), *((b, a) for a, b in SECRET_FILES.items())]
    for given, rival in pairs:
        if value_at(upper.values, given) not in (None, "") and rival in lower.places:
            section = value_at(lower.values, rival[:-1])
            if isinstance(section, dict):
                section.pop(rival[-1], None)
            lower.places.pop(rival)
    return lower


def read_named_files(layer: Layer, folder: FilePath) -> list[Problem]:
    """Put the contents of secret files in place, and make sure that TLS files can be read.

    A relative name in the config file counts from its `folder`, one in the environment or a
    flag from the current folder; TLS files and folders become whole paths.
    """
    problems = []
    for named in (*SECRET_FILES, *TLS_FILES, *FOLDERS):
        name, place = value_at(layer.values, named), layer.places.get(named)
        if place is None or not isinstance(name, str) or not name:
            continue
        from_file = place.names is None
        path = folder / name if from_file else FilePath(name)
        if named in SECRET_FILES:
            trouble = _put_secret(layer, named, place, path)
        else:
            trouble = _contents(path)[1] if named in TLS_FILES else None
            layer.put(named, Text(path.absolute()), place)
        if trouble:
            problems.append(Problem(place.where, trouble, named if from_file else None))
    return problems


def _put_secret(layer: Layer, named: Path, place: Place, path: FilePath) -> str | None:
    secret = SECRET_FILES[named]
    if value_at(layer.values, secret) not in (None, ""):
        return f"give either {secret[-1]} or {named[-1]}, not both"
    raw, trouble = _contents(path)
    if trouble:
        return trouble
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return "the file is not UTF-8 text"
    text = text[:-1].removesuffix("\r") if text.endswith("\n") else text
    if not text:
        return "the file is empty"
    layer.put(secret, Text(text), Place(place.where, place.origin))
    return None


def _contents(path: FilePath) -> tuple[bytes, str | None]:
    """What is in a file, or why it cannot be had."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable file name"
        return b"", f"the file cannot be read ({reason})"
    if len(raw) > MAX_BYTES:
        return b"", f"the file is larger than {MAX_BYTES // 1024} KiB"
    return raw, None
