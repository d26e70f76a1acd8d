"""Defaults < file < environment < flags, and each value knows where it came from."""

from __future__ import annotations

import pytest

from taskrig.config.load import load_config
from taskrig.errors import UsageError


def test_each_layer_goes_before_the_one_below(settings):
    text = "worker: {max_concurrent: 2, lease: 20s, interval: 3s}\n"
    env = {"TASKRIG_WORKER__MAX_CONCURRENT": "4", "TASKRIG_WORKER__LEASE": "30s"}

    config = settings.load(text, env=env, flags={"worker.max_concurrent": "6"})

    assert config.worker.max_concurrent == 6
    assert config.worker.lease_s == 30.0
    assert config.worker.interval_s == 3.0
    assert config.worker.max_deliveries == 3
    assert config.origins["worker.max_concurrent"] == "flag --max-concurrent"
    assert config.origins["worker.lease"] == "environment TASKRIG_WORKER__LEASE"
    assert config.origins["worker.interval"] == "config.yaml:1"
    assert config.origins["worker.max_deliveries"] == "default"


def test_set_takes_yaml_and_goes_before_flags(settings):
    config = settings.load(
        flags={"worker.max_concurrent": 6},
        sets=[
            "worker.max_concurrent=7",
            "handlers=[a, b]",
            "tasks.x={timeout: 5s}",
            "tasks.email.send.timeout=2s",
            "worker.max_tasks=null",
        ],
    )

    assert config.worker.max_concurrent == 7
    assert config.handlers == ("a", "b")
    assert (config.tasks["x"].timeout_s, config.tasks["email.send"].timeout_s) == (5.0, 2.0)
    assert config.origins["tasks.x.timeout"] == "flag --set tasks.x"


def test_the_environment_reaches_task_types_and_lists(settings):
    env = {
        "TASKRIG_TASKS__FAST_TASK__TIMEOUT": "3",
        "TASKRIG_HANDLERS": "a, b:c",
        "TASKRIG_REDIS__PASSWORD": "012",
        "TASKRIG_WORKER__MAX_TASKS": "",
        "TASKRIG_HTTP__ENABLED": "no",
    }

    config = settings.load("worker: {max_tasks: 5}", env=env)

    assert config.tasks["fast_task"].timeout_s == 3.0
    assert config.handlers == ("a", "b:c")
    assert config.redis.password.get_secret_value() == "012"
    assert config.worker.max_tasks is None
    assert config.http.enabled is False


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"worker.max_concurrent": "0"}, "--max-concurrent: must be at least 1 (got 0)"),
        ({"worker.max_concurrent": "-1"}, "--max-concurrent: must be at least 1 (got -1)"),
        ({"worker.max_concurrent": "1.5"}, "--max-concurrent: must be a whole number (got 1.5)"),
        ({"worker.max_concurrent": "ten"}, "--max-concurrent: must be a whole number (got ten)"),
        ({"worker.max_concurrent": ""}, "--max-concurrent: must be a whole number (got nothing)"),
        ({"worker.max_concurrent": True}, "--max-concurrent: must be a whole number (got True)"),
        ({"worker.max_tasks": "0"}, "--max-tasks: must be at least 1 (got 0)"),
        ({"worker.interval": "0"}, "--interval: must be more than 0 seconds (got 0)"),
        ({"worker.interval_s": 0.0}, "--interval: must be more than 0 seconds (got 0.0)"),
        ({"queue.key": ""}, "--redis-key: must not be empty (got nothing)"),
        ({"log.level": "loud"}, "--log-level: must be debug, info, warning or error (got loud)"),
    ],
)
def test_a_wrong_flag_is_named(settings, flags, line):
    assert settings.problem(flags=flags) == line


@pytest.mark.parametrize(
    ("item", "line"),
    [
        ("worker.max_concurrent", "--set: expected NAME=VALUE"),
        ("=3", "--set: expected NAME=VALUE"),
        ("worker.slots=3", "--set worker.slots: unknown key; known are"),
        ("worker.max_concurrent=0", "--set worker.max_concurrent: must be at least 1 (got 0)"),
        ("worker.max_concurrent=", "--set worker.max_concurrent: must be a whole number"),
        ("worker.max_concurrent={}", "--set worker.max_concurrent: must be a whole number"),
        ("worker.max_concurrent.x=1", "worker.max_concurrent holds no keys of its own"),
        ("worker=3", "--set worker: must hold keys of its own"),
        ("worker=[", "--set worker: is not YAML here"),
        ("queue.key=12", "--set queue.key: must be text; YAML reads this as a number: quote it"),
        ("handlers=[a, 1]", "--set handlers: handlers[1]: must be text"),
    ],
)
def test_a_wrong_set_is_named(settings, item, line):
    found = settings.problem("worker: {max_concurrent: 3}", sets=[item])

    assert line in found


@pytest.mark.parametrize("address", ["::", "::1", "[::]", "[::1]", "[2001:db8::7]", "fe80::1%eth0"])
def test_an_ipv6_address_needs_no_quotes_in_a_set(settings, address):
    bare = address.strip("[]")
    assert settings.load(sets=[f"http.host={address}"]).http.host == bare
    assert settings.load(env={"TASKRIG_HTTP__HOST": address}).http.host == bare
    assert settings.load(sets=[f"http.names={address}"]).http.names == (bare,)
    assert settings.load(sets=[f"email.host={address}", "email.sender=a@b.c"]).email.host == bare


def test_an_ipv6_sentinel_needs_no_quotes_in_a_set(settings):
    sets = ["redis.sentinels=[::1]:26379", "redis.sentinel_master=m"]
    assert settings.load(sets=sets).redis.sentinels == ("[::1]:26379",)


@pytest.mark.parametrize("password", ["abc:", "a: b", "::", "a:b"])
def test_a_colon_in_the_text_of_a_set_is_text(settings, password):
    redis = settings.load(sets=[f"redis.password={password}"]).redis
    assert redis.password.get_secret_value() == password


def test_a_section_may_still_be_set_as_yaml(settings):
    sets = ["worker=lease: 30s", "tasks.mail=retries: 2", "tasks.fax={retries: 3}"]
    config = settings.load(sets=sets)
    assert config.worker.lease_s == 30
    assert (config.tasks["mail"].retries, config.tasks["fax"].retries) == (2, 3)


@pytest.mark.parametrize("host", ["[::1]:9464", "localhost:9464", "[::1", "[]", "http://::1"])
def test_what_is_no_host_is_refused_in_one_line(settings, host):
    assert "--set http.host: " in settings.problem(sets=[f"http.host={host}"])


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("TASKRIG_WORKER__MAX_CONCURENT", "did you mean TASKRIG_WORKER__MAX_CONCURRENT?"),
        ("TASKRIG_WORKER_MAX_CONCURRENT", "did you mean TASKRIG_WORKER__MAX_CONCURRENT?"),
        ("TASKRIG_WORKR__MAX_TASKS", "did you mean TASKRIG_WORKER__MAX_TASKS?"),
        ("TASKRIG_HANDLER", "did you mean TASKRIG_HANDLERS?"),
        ("TASKRIG_WORKER__LEASE__S", "worker.lease holds no keys of its own"),
        ("TASKRIG_WORKER__", "TASKRIG_WORKER__: "),
        ("TASKRIG___X", "TASKRIG___X: "),
    ],
)
def test_a_variable_that_just_misses_a_setting_is_refused(settings, name, line):
    found = settings.problem("worker: {lease: 5s}", env={name: "3"})

    assert found.startswith(f"{name}: ")
    assert line in found


def test_variables_that_kubernetes_makes_for_a_service_do_no_harm(settings):
    settings.load(
        env={
            "TASKRIG_SERVICE_HOST": "10.0.0.1",
            "TASKRIG_HTTP_PORT": "tcp://10.0.0.1:9464",
            "TASKRIG_PORT_9464_TCP_ADDR": "10.0.0.1",
        }
    )


def test_references_are_filled_in_after_parsing(settings):
    text = """
worker: {max_concurrent: "${N}", max_tasks: "${M:-}", lease: "${L:-30s}"}
queue: {key: "a-${K}-$${K}-$K"}
log: {tasks: "${T:-1%}"}
"""
    config = settings.load(text, env={"N": "7", "K": "x: [", "L": ""})

    assert config.worker.max_concurrent == 7
    assert config.worker.max_tasks is None
    assert config.worker.lease_s == 30.0
    assert config.queue.key == "a-x: [-${K}-$K"
    assert config.log.task_sample == 0.01


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("${N}", "the environment variable N is not set; set it, or write ${N:-default}"),
        ("${1N}", "expected ${VAR} or ${VAR:-default}"),
        ("${N", "expected ${VAR} or ${VAR:-default}"),
        ("${}", "expected ${VAR} or ${VAR:-default}"),
    ],
)
def test_a_reference_that_cannot_be_filled_in_is_refused_once(settings, written, says):
    line = settings.problem(f"worker:\n  lease: '{written}'\n")

    assert line.startswith("config.yaml:2:3: worker.lease: ")
    assert says in line


def test_an_empty_section_in_the_file_takes_nothing_from_the_environment(settings):
    config = settings.load("worker:\n", env={"TASKRIG_WORKER__LEASE": "30s"})

    assert config.worker.lease_s == 30.0


def test_a_section_of_the_wrong_kind_is_not_hidden_by_the_environment(settings):
    line = settings.problem("worker: 5\n", env={"TASKRIG_WORKER__LEASE": "30s"})

    assert line.startswith("config.yaml:1:1: worker: must hold keys of its own")


def test_the_hash_follows_settings_and_not_secrets(settings):
    plain = settings.load()

    assert plain.hash() == settings.load().hash()
    assert plain.hash() == settings.load(env={"TASKRIG_REDIS__PASSWORD": "x"}).hash()
    assert plain.hash() != settings.load(flags={"worker.max_concurrent": 6}).hash()
    assert len(plain.hash()) == 12


def test_settings_of_a_framework_stand_between_file_and_environment():
    values = {"worker": {"lease": "20s", "interval": 3, "max_concurrent": 2}, "handlers": ("a",)}
    env = {"TASKRIG_WORKER__INTERVAL": "4s"}
    config = load_config(env=env, framework=("settings.TASKRIG", values))

    assert (config.worker.lease_s, config.worker.interval_s, config.handlers) == (20, 4, ("a",))
    assert config.origins["worker.lease"] == "settings.TASKRIG"


def test_every_wrong_setting_of_a_framework_is_named():
    values = {"worker": {"lease": 0, "slots": 2}, "redis": "x", "handlers": ["a", "b/c.py"]}
    with pytest.raises(UsageError) as caught:
        load_config(env={}, framework=("settings.TASKRIG", values))

    assert [line.partition("; ")[0] for line in str(caught.value).splitlines()] == [
        "settings.TASKRIG: worker.slots: unknown key",
        "settings.TASKRIG: redis: must hold keys of its own, each on a line below it (key: value)",
        "settings.TASKRIG: worker.lease: must be at least 500ms (got 0)",
        "settings.TASKRIG: handlers[1]: must be a module's name with dots (mypkg.tasks), "
        "not the path of a file",
    ]
