"""The command lines of both programs: the same words for the same mistake, the same exit codes."""

from __future__ import annotations

import argparse
import io
import re
import shlex
import sys

import pytest

from taskrig.cli import main as worker
from taskrig.cli.entry import build_parser as build_worker
from taskrig.frame.output import ask
from taskrig.texts import printable
from taskrig_loadgen.cli import main as loadgen
from taskrig_loadgen.cli.entry import build_parser as build_loadgen

PROGRAMS = {"worker": worker, "loadgen": loadgen}


def said(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command line that is wrong is told."""
    program, *arguments = shlex.split(line)
    assert PROGRAMS[program](arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{program}: ")
    assert err.count("\n") == 1
    return err.removeprefix(f"{program}: ").rstrip("\n")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("worker chek", "unknown command 'chek'; did you mean check? (see worker --help)"),
        ("loadgen swep", "unknown command 'swep'; did you mean sweep? (see loadgen --help)"),
        ("loadgen ''", "unknown command '' (see loadgen --help)"),
        ("loadgen xyz", "unknown command 'xyz' (see loadgen --help)"),
        (
            "worker run --inteval 3",
            "unknown flag --inteval; did you mean --interval? (see worker run --help)",
        ),
        (
            "loadgen run --rat=5 --mix fast=1",
            "unknown flag --rat; did you mean --rate? (see loadgen run --help)",
        ),
        (
            "loadgen --mix fast=1 --sed 3",
            "unknown flag --sed; did you mean --seed? (see loadgen --help)",
        ),
        (
            "loadgen plan --from x --rate 1 extra",
            "unknown argument extra (see loadgen plan --help)",
        ),
        (
            "worker --redis-key k status",
            "the command comes first: worker status ... (see worker run --help)",
        ),
        (
            "loadgen --redis-key k monitor",
            "the command comes first: loadgen monitor ... (see loadgen --help)",
        ),
        (
            "loadgen --mix fast=1 monitor",
            "the command comes first: loadgen monitor ... (see loadgen --help)",
        ),
        (
            "loadgen --redis-key k",
            "the following arguments are required: --mix (see loadgen --help)",
        ),
        (
            "loadgen --mix fast=3, slow=2",
            "unknown argument slow; write the mix without spaces, "
            "like --mix fast=3,slow=2 (see loadgen --help)",
        ),
        (
            "worker dead list --outcome fialed",
            "--outcome: there is no outcome 'fialed'; did you mean failed?",
        ),
        (
            "worker dead drop --outcome lost --yes",
            "--outcome: there is no outcome 'lost'; it must be one of failed, invalid, dead",
        ),
        (
            "worker dead requeue --reason timeuot",
            "--reason: there is no reason 'timeuot'; did you mean timeout?",
        ),
        (
            "worker dead show 17",
            "'17' is not an id of a dead letter; `worker dead list` shows them",
        ),
        (
            "worker dead list -n few",
            "argument -n/--number: must be a whole number, got 'few' (see worker dead list --help)",
        ),
        (
            "loadgen --mix fast=1 --expect 'wiat.p99 < 1s'",
            "--expect 'wiat.p99 < 1s': no figure is called 'wiat'; did you mean wait?",
        ),
        ("loadgen run --rate", "argument --rate: expected one argument (see loadgen run --help)"),
    ],
)
def test_a_wrong_word_is_named_with_the_right_one_and_the_help_to_read(line, told, capsys):
    assert said(line, capsys) == told


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("worker config shw", "show"),
        ("worker dead lst", "list"),
        ("loadgen --mix fast=1 --on-interrupt wiat", "wait"),
        ("loadgen run --observe quue", "queue"),
    ],
)
def test_a_word_that_is_none_of_a_few_is_told_the_nearest(line, meant, capsys):
    told = said(line, capsys)
    assert "invalid choice" in told
    assert f"; did you mean {meant}? (see" in told


def actions(parser, command):
    """Every flag and argument of a program, with the command that has it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from actions(inner, f"{command} {name}".rstrip())
        else:
            yield command, "/".join(action.option_strings) or action.metavar, action.help


HELPS = sorted({*actions(build_worker(), "worker"), *actions(build_loadgen(), "loadgen")}, key=str)
HALF = re.compile(r"\bso (long|many|much)\b|\([\d.]+\s*\w{0,2}%*\)$")


@pytest.mark.parametrize(("command", "word", "text"), HELPS)
def test_the_help_of_every_flag_and_argument_is_a_whole_phrase(command, word, text):
    assert text is not None and len(text.split()) > 2, (command, word)
    assert not HALF.search(text), text
    assert not text.startswith(("of ", "(")), text


def test_loadgen_alone_shows_its_help(capsys):
    assert loadgen([]) == 0
    alone = capsys.readouterr()
    assert loadgen(["--help"]) == 0
    assert alone == capsys.readouterr()
    assert "loadgen --mix fast=3,medium=2,slow=2" in alone.out
    assert alone.out.startswith("usage: loadgen ")


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_would_steer_the_terminal_is_shown_and_not_obeyed(program, capsys):
    told = said(f"{program} run --\x1b[2J", capsys)
    assert "\\x1b[2J" in told
    assert "\x1b" not in told
    assert printable("fünf 五\t\x9b") == "fünf 五\\t\\x9b"


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_argument_that_is_not_utf_8_is_one_line(program, capsys):
    assert PROGRAMS[program](["--set", "a=\udcff"]) == 2
    assert "must be UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "command"),
    [("worker", "taskrig.cli.version"), ("loadgen", "taskrig_loadgen.cli.schema")],
)
@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (RuntimeError("redis://u:hush@h"), 1)]
)
def test_ctrl_c_is_130_and_what_nobody_foresaw_one_line(
    program, command, error, code, monkeypatch, capsys
):
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr("builtins.print", broken)
    name = command.rpartition(".")[2]
    monkeypatch.setattr("taskrig.frame.output._say", lambda text: sys.stderr.write(text + "\n"))
    assert PROGRAMS[program]([name]) == code
    err = capsys.readouterr().err
    assert "hush" not in err
    assert err.startswith(f"{program}: unforeseen RuntimeError") or code == 130


@pytest.mark.parametrize(("typed", "yes"), [("y\n", True), ("no\n", False), ("", False)])
def test_a_question_is_asked_on_standard_error_and_ctrl_d_means_no(monkeypatch, capsys, typed, yes):
    terminal = io.StringIO(typed)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert ask("delete?") is yes
    assert capsys.readouterr() == ("", "delete? [y/N] ")


@pytest.mark.parametrize("stdin", [None, io.StringIO("y\n")])
def test_without_a_terminal_nobody_is_asked(monkeypatch, capsys, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)
    assert ask("delete?") is None
    assert capsys.readouterr().err == ""
