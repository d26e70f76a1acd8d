"""A Redis URL works or is refused in one line, and no secret is ever shown."""

from __future__ import annotations

import os

import pytest

SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://h/",
        "redis://h:6379/3",
        "redis://[::1]:6379/0",
        "redis://u:p%40ss@h:1/2",
        "redis://:p@ss@h",
        "rediss://h?db=4",
        "unix:///tmp/r.sock",
        "unix:///tmp/r.sock?db=3",
        "unix://u:p@/tmp/r.sock",
    ],
)
def test_a_url_that_can_work_is_taken(settings, url):
    redis = settings.load(flags={"redis.url": url}).redis

    assert redis.url == url
    if "p@" not in url and "p%40" not in url:
        assert redis.masked_url() == url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "must not be empty"),
        ("localhost:6379", "must begin with redis://, rediss:// or unix://"),
        ("rdis://h", "did you mean redis://?"),
        ("REDIS://h", "did you mean redis://?"),
        ("valkey://h", "did you mean redis://?"),
        ("redis:/h", "must begin with redis://"),
        ("http://h", "must begin with redis://"),
        ("redis://", "names no host"),
        ("redis:///0", "names no host"),
        ("redis://h:abc", "no usable host:port"),
        ("redis://h:70000", "no usable host:port"),
        ("redis://h:0", "has port 0"),
        ("redis://[::1", "no usable host:port"),
        ("redis://h/abc", "a database that is not a number"),
        ("redis://h/-1", "a database that is not a number"),
        ("redis://h?db=", "an empty db="),
        ("redis://h?db=x", "a database that is not a number"),
        ("redis://h/1?db=2", "names the database twice"),
        ("redis://h?decode_responses=1", "an option that is not allowed here"),
        ("redis://h#x", "holds a #"),
        ("redis://h h", "spaces or control characters"),
        ("unix://tmp/r.sock", "needs the path of a socket"),
        ("unix://", "needs the path of a socket"),
        ("redis://:***@h", "the mask of a printed configuration"),
    ],
)
def test_a_url_that_cannot_work_is_refused(settings, url, says):
    line = settings.problem(flags={"redis.url": url})

    assert line.startswith("--redis-url: ")
    assert says in line


@pytest.mark.parametrize(
    "text",
    [
        "redis: {url: 'rdis://u:hunter2@h'}",
        "redis: {url: 'redis://u:hunter2/x@h'}",
        "redis: {url: 'redis://u:hunter2#x@h'}",
        "redis: {url: 'redis://h?password=hunter2&db=x'}",
        "redis: {url: 'redis://h?passwrd=hunter2'}",
        "redis: {url: [redis://u:hunter2@h]}",
        "redis: 'redis://u:hunter2@h'",
        "redis: password:hunter2",
        "redis: {password:hunter2}",
        "redis: {password: {a: hunter2}}",
        "redis: {pasword: hunter2}",
        "redis:\n  password:hunter2\n  cluster: false\n",
        "redis:\n  password: hunter2: x\n",
        "redis: {password: *hunter2}",
        "redis: {password: !hunter2 x}",
        "redis: {password: @hunter2}",
        "redis: {password: 'hunter2, cluster: 3}",
        "queue: {key: [redis://u:hunter2@h]}",
        "worker: {lease: 'redis://u:hunter2@h'}",
        "- redis://u:hunter2@h",
    ],
)
def test_no_problem_line_shows_a_secret(settings, text):
    lines = settings.problems(text)

    assert lines
    assert not any(SECRET in line for line in lines), lines


def test_a_secret_in_a_flag_or_variable_is_not_shown_either(settings):
    lines = settings.problems(
        env={"TASKRIG_REDIS__URL": f"rdis://:{SECRET}@h", "TASKRIG_REDIS__PASSWRD": SECRET},
        flags={"redis.url": f"http://:{SECRET}@h"},
        sets=[f"redis://:{SECRET}@h", f"redis.sentinel_password=[{SECRET}]", f"redis={SECRET}"],
    )

    assert lines
    assert not any(SECRET in line for line in lines), lines


def test_a_configuration_never_shows_its_secrets(settings):
    config = settings.load(
        sets=[f"redis.url=redis://u:{SECRET}@h?password={SECRET}", f"redis.password={SECRET}"]
    )

    from taskrig.config.show import as_yaml

    assert config.redis.masked_url() == "redis://u:***@h?password=***"
    for shown in (repr(config), str(config), as_yaml(config, origins=True)):
        assert SECRET not in shown


@pytest.mark.parametrize("written", [b"pa ss\n", b"pa ss\r\n", b"pa ss"])
def test_a_trailing_newline_is_not_part_of_a_secret_in_a_file(settings, written):
    (settings.folder / "secret").write_bytes(written)

    config = settings.load("redis: {password_file: secret}")

    assert config.redis.password.get_secret_value() == "pa ss"
    assert config.origins["redis.password"] == "config.yaml:1"


def test_only_one_trailing_newline_is_taken_off(settings):
    (settings.folder / "secret").write_bytes(b"x\n\n")

    assert (
        settings.load("redis: {password_file: secret}").redis.password.get_secret_value() == "x\n"
    )


def test_a_relative_secret_file_counts_from_the_config_files_folder(
    settings, monkeypatch, tmp_path
):
    from taskrig.config.load import load_config

    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "secret").write_text("x")
    (tmp_path / "etc" / "c.yaml").write_text(
        "redis: {password_file: secret, tls_ca_file: secret, url: 'rediss://h'}"
    )

    redis = load_config(tmp_path / "etc" / "c.yaml", env={}).redis

    assert redis.password.get_secret_value() == "x"
    assert redis.tls_ca_file == str(tmp_path / "etc" / "secret")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("redis: {password_file: nowhere}", "the file cannot be read (No such file"),
        ("redis: {password_file: .}", "the file cannot be read (Is a directory)"),
        ("redis: {password_file: empty}", "the file is empty"),
        ("redis: {password_file: binary}", "the file is not UTF-8 text"),
        ("redis: {password_file: good, password: x}", "either password or password_file"),
        ("redis: {url: 'rediss://h', tls_ca_file: nowhere}", "the file cannot be read"),
    ],
)
def test_a_secret_file_that_cannot_serve_is_refused(settings, text, says):
    (settings.folder / "empty").write_bytes(b"\n")
    (settings.folder / "good").write_bytes(b"x")
    (settings.folder / "binary").write_bytes(os.urandom(8) + b"\xff")

    line = settings.problem(text)

    assert line.startswith("config.yaml:1:")
    assert says in line


def test_a_secret_given_one_way_replaces_the_other_way_of_a_lower_layer(settings):
    (settings.folder / "secret").write_text("from a file")
    text = "redis: {password_file: secret}"

    config = settings.load(text, env={"TASKRIG_REDIS__PASSWORD": "from outside"})
    back = settings.load("redis: {password: x}", env={"TASKRIG_REDIS__PASSWORD_FILE": "secret"})

    empty = settings.load(text, env={"TASKRIG_REDIS__PASSWORD": ""})

    assert empty.redis.password.get_secret_value() == "from a file"
    assert config.redis.password.get_secret_value() == "from outside"
    assert back.redis.password.get_secret_value() == "from a file"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{sentinels: [h:26379]}", "sentinels need sentinel_master"),
        ("{sentinel_master: m}", "sentinel_master needs sentinels"),
        ("{sentinels: [h], sentinel_master: m}", "must be host:port"),
        ("{sentinels: [h:0], sentinel_master: m}", "must be host:port"),
        ("{cluster: true, sentinels: [h:1], sentinel_master: m}", "exclude each other"),
        ("{cluster: true, url: redis://h/3}", "a cluster has only database 0"),
        ("{tls_ca_file: config.yaml}", "need a rediss:// url"),
        ("{url: 'rediss://h', tls_key_file: config.yaml}", "needs tls_cert_file too"),
        ("{password: 12}", "YAML reads this as a number: quote it"),
        ("{password: '********'}", "the mask of a printed configuration"),
    ],
)
def test_settings_of_redis_that_do_not_fit_together_are_refused(settings, text, says):
    assert says in settings.problem(f"redis: {text}")
