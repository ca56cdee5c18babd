"""`train`: the whole chain from data folder to bundle."""

import sys
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from pathlib import Path

from training.commands import options
from training.errors import RunError
from training.quiet import start_keras

HELP = "the whole chain to a bundle"


def add(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    options.add_data(parser)
    options.add_profile(parser)
    options.add_out(parser)
    parser.add_argument("--run", type=Path, help="new folder of the run (default: below runs/)")


def run(arguments: Namespace) -> None:
    """Run the whole chain."""
    config = options.chosen_config(arguments)
    folder = (
        arguments.run or Path("runs") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{arguments.profile}"
    )
    if folder.exists():
        raise RunError(
            f"{folder} is there already: continue it with `python -m training resume {folder}`, or "
            "choose another folder with --run."
        )
    with options.open_data(arguments, config) as data:
        options.try_weights(config)
        cache = options.open_images(arguments, config, data)
        start_keras()
        from training.chain import train

        train(config, data, cache, folder, arguments.out, sys.argv[1:])
