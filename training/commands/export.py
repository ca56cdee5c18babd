"""`export`: write the bundle of a finished run once more."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from training.commands import options
from training.quiet import start_keras

HELP = "export a finished run once more"


def add(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    options.add_out(parser)
    parser.add_argument("run", type=Path)


def run(arguments: Namespace) -> None:
    """Export a finished run once more."""
    start_keras()
    from training.export import export_bundle

    print(export_bundle(arguments.run, arguments.out))
