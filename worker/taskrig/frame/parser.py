"""A parser of arguments whose errors are one line, with "did you mean" and the help to read."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from taskrig import units
from taskrig.errors import UsageError
from taskrig.frame.settings import add_config_flags
from taskrig.texts import did_you_mean, is_unicode

Commands = Any  # argparse's own type for it is private
Execute = Callable[[argparse.Namespace], int]

_NUMBERS: dict[Any, str] = {int: "a whole number", float: "a number"}
_OF_THE_PROGRAM = ("-h", "--help", "--version")


class Parser(argparse.ArgumentParser):
    """argparse with whole flag names only, examples kept as written, and errors that are raised."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise the message as one line that names the help."""
        raise UsageError(f"{message} (see {self.prog} --help)")

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        kind = _NUMBERS.get(action.type)
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError as error:
            if kind is not None:
                error.message = f"must be {kind}, got {arg_string!r}"
            raise

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += did_you_mean(str(value), map(str, action.choices or ()))
            raise


def command(
    commands: Commands, name: str, execute: Execute, *, about: str, examples: str
) -> Parser:
    """Add a command with the flags that all have."""
    parser: Parser = commands.add_parser(
        name, help=about, description=about[0].upper() + about[1:] + ".", epilog=examples
    )
    finish(parser, execute)
    return parser


def finish(parser: Parser, execute: Execute) -> None:
    """Add the flags that every command has, and say what it does."""
    add_config_flags(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(execute=execute, parser=parser)


def parse(
    parser: Parser,
    arguments: Sequence[str],
    *,
    default: str,
    advice: Callable[[Sequence[str]], str] = lambda unknown: "",
) -> argparse.Namespace:
    """The parsed arguments; where no command is named, the default one is meant.

    Args:
        advice: what to add to the error about these unknown arguments.

    Raises:
        UsageError: a command, a flag or its value is wrong.
    """
    for one in arguments:
        if not is_unicode(one):
            parser.error(f"{one!a} must be UTF-8")
    names = _names(parser)
    first = arguments[0] if arguments else "-"
    if first.startswith("-") and first not in _OF_THE_PROGRAM:
        arguments = [default, *arguments]
    elif not first.startswith("-") and first not in names:
        parser.error(f"unknown command {first!r}{did_you_mean(first, names)}")
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        _refuse(args.parser, unknown, parser.prog, names, advice(unknown))
    return args


def _names(parser: Parser) -> list[str]:
    actions = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return [name for action in actions for name in action.choices if name]


def _refuse(
    parser: Parser, unknown: Sequence[str], program: str, commands: Sequence[str], advice: str
) -> NoReturn:
    word = next((word for word in unknown if word.startswith("-")), unknown[0])
    if word in commands:
        parser.error(f"the command comes first: {program} {word} ...")
    name = word.partition("=")[0]  # its value may be a secret
    kind = "flag" if name.startswith("-") else "argument"
    flags = [flag for action in parser._actions for flag in action.option_strings]
    parser.error(f"unknown {kind} {name}{did_you_mean(name, flags)}{advice}")


def seconds(least: float, most: float) -> Callable[[str], float]:
    """The type of an argument: a duration (`500ms`, `2`) from `least` to `most` seconds."""

    def read(text: str) -> float:
        try:
            value = units.duration_s(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be {least:g} to {most:g} seconds")
        return value

    return read


def refuse_unless_known(flag: str, word: str, known: Sequence[str]) -> None:
    """Raise UsageError for a word that is not in a closed set, with the one that was meant."""
    if word not in known:
        meant = did_you_mean(word, known) or f"; it must be one of {', '.join(known)}"
        raise UsageError(f"{flag}: there is no {flag.removeprefix('--')} {word!r}{meant}")
