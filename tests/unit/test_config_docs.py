"""config.yaml, the model, its schema and docs/configuration.md say the same."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from taskrig.config.load import load_config
from taskrig.config.problems import known_settings
from taskrig.config.sections import TaskConfig
from taskrig.config.show import as_yaml, schema
from taskrig.config.sources import FLAGS, env_name, setting_path
from taskrig.config.values import yaml_key

PROJECT = Path(__file__).parents[2]
MODEL = {".".join(map(str, path)) for path in known_settings() if path != ("tasks",)}
TASK_KEYS = {f"tasks.<type>.{yaml_key(name)}" for name in TaskConfig.model_fields}


def keys_in(values, path=()):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from keys_in(value, (*path, "<type>" if path == ("tasks",) else key))
        else:
            yield ".".join((*path, key))


def documented():
    """Default and meaning of each key, from the tables of docs/configuration.md."""
    text = (PROJECT / "docs/configuration.md").read_text()
    rows = re.findall(r"^\| `([\w.<>]+)` \| [^|]+ \| `([^|]+)` \| ([^|]+) \|$", text, re.M)
    return {key: (default, meaning) for key, default, meaning in rows}


def described():
    """Each setting of the JSON Schema, by key."""
    settings = {}
    for name, part in schema()["properties"].items():
        reference = part.get("$ref") or part.get("additionalProperties", {}).get("$ref")
        if reference is None:
            settings[name] = part
            continue
        section = schema()["$defs"][reference.rpartition("/")[2]]
        assert section["additionalProperties"] is False
        prefix = f"{name}.<type>" if name == "tasks" else name
        settings |= {f"{prefix}.{key}": value for key, value in section["properties"].items()}
    return settings


def test_every_key_of_config_yaml_is_in_the_model_and_the_other_way_round():
    written = yaml.safe_load((PROJECT / "config.yaml").read_text())

    assert set(keys_in(written)) == MODEL | TASK_KEYS


def test_config_yaml_writes_out_the_defaults(settings):
    file = load_config(PROJECT / "config.yaml", env={})

    assert file.model_dump(exclude={"tasks"}) == settings.load().model_dump(exclude={"tasks"})


def test_every_key_is_documented_with_its_default(settings):
    shown = yaml.safe_load(as_yaml(settings.load(sets=["tasks.<type>={}"])))
    defaults = {}
    for key in MODEL | TASK_KEYS:
        value = shown
        for part in setting_path(key):
            value = value[part]
        defaults[key] = value

    assert {key: yaml.safe_load(row[0]) for key, row in documented().items()} == defaults


def test_the_documentation_and_the_schema_say_the_same_of_every_key():
    def plain(text):
        return text[0].upper() + text[1:].rstrip(".")

    documentation = {key: plain(meaning) for key, (_, meaning) in documented().items()}

    assert {key: plain(part["description"]) for key, part in described().items()} == documentation


def test_the_schema_knows_every_key_and_no_other():
    assert set(described()) == MODEL | TASK_KEYS


def test_every_flag_belongs_to_a_setting():
    assert set(FLAGS) <= MODEL


def test_the_documented_environment_names_are_right():
    text = (PROJECT / "docs/configuration.md").read_text() + (PROJECT / "config.yaml").read_text()
    known = {env_name(path) for path in known_settings()} | {"TASKRIG_TASKS__FAST_TASK__TIMEOUT"}

    assert set(re.findall(r"TASKRIG_[A-Z_]+[A-Z]", text)) <= known


def test_what_is_shown_reads_back_as_the_same_configuration(settings):
    before = settings.load(
        sets=[
            "worker={interval: 250ms, lease: 90s, max_tasks: 7}",
            "queue={key: '012', max_item_bytes: 1000}",
            "handlers=[a, 'b:c']",
            "tasks={'no': {timeout: 1.25s}, 'a: b': {}, '12': {timeout: 3ms}}",
            "log.tasks=1%",
            "redis.tls_verify=false",
        ]
    )

    for origins in (False, True):
        after = settings.load(as_yaml(before, origins=origins))
        assert after.model_dump() == before.model_dump()
        assert after.hash() == before.hash()


def test_a_printed_secret_is_refused_and_not_taken_for_the_password(settings):
    printed = as_yaml(settings.load(sets=["redis={password: x, url: 'redis://u:y@h'}"]))

    assert len(settings.problems(printed)) == 2
