"""Put test tasks on the queue and leave them there."""

from __future__ import annotations

import argparse

from taskrig_loadgen.cli import mix as bare

EXAMPLE = "loadgen add --mix fast=3,medium=2,slow=2"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `loadgen add`: those of the bare command; the mix has a default."""
    bare.configure(parser)
    parser.set_defaults(mix="fast=3,medium=2,slow=2", no_follow=True)


def run(args: argparse.Namespace) -> int:
    """`loadgen add`: the bare command without following."""
    args.no_follow = True
    return bare.run(args)
