"""`worker config show` and `worker config schema`."""

from __future__ import annotations

import argparse
import json

from taskrig.cli.settings import load_settings
from taskrig.frame.parser import Commands, Parser, command

EXAMPLES = """\
examples:
  worker config show --origin
  worker config schema > config.schema.json"""

SHOW_EXAMPLES = """\
examples:
  worker config show
  worker config show --origin --config config.yaml
  worker config show --set worker.lease=30s > effective.yaml"""

SCHEMA_EXAMPLES = """\
example:
  worker config schema > config.schema.json
and as the first line of config.yaml, for editors with a YAML language server:
  # yaml-language-server: $schema=config.schema.json"""


def add(commands: Commands) -> None:
    """Add the commands."""
    parser: Parser = commands.add_parser(
        "config",
        help="show the configuration in effect, or its schema",
        description="Show the configuration in effect, or its schema.",
        epilog=EXAMPLES,
    )
    inner = parser.add_subparsers(title="commands", metavar="show|schema", required=True)
    show = command(
        inner,
        "show",
        show_config,
        about="print every setting as YAML, with secrets masked",
        examples=SHOW_EXAMPLES,
    )
    show.add_argument(
        "--origin", action="store_true", help="print the source of each setting beside it"
    )
    command(
        inner,
        "schema",
        show_schema,
        about="print the JSON Schema of config.yaml for editors",
        examples=SCHEMA_EXAMPLES,
    )


def show_config(args: argparse.Namespace) -> int:
    """Print the configuration that holds; returns 0."""
    config = load_settings(args)
    from taskrig.config.show import as_yaml

    print(as_yaml(config, origins=args.origin), end="")
    return 0


def show_schema(args: argparse.Namespace) -> int:
    """Print the JSON Schema; returns 0."""
    from taskrig.config.show import schema

    print(json.dumps(schema(), indent=2))
    return 0
