"""`train`: the whole chain from data folder to bundle."""

import sys
from argparse import ArgumentParser, Namespace

from training.commands import options
from training.quiet import start_keras

HELP = "the whole chain to a bundle"


def add(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    options.add_data(parser)
    options.add_profile(parser)
    options.add_out(parser)
    options.add_run(parser)


def run(arguments: Namespace) -> None:
    """Run the whole chain."""
    config = options.chosen_config(arguments)
    folder = options.chosen_run(arguments, arguments.profile)
    with options.open_data(arguments, config) as data:
        options.try_weights(config)
        options.check_folder("--out", arguments.out)
        options.check_new("--run", folder)
        cache = options.open_images(arguments, config, data)
        start_keras()
        from training.chain import train

        train(config, data, cache, folder, arguments.out, sys.argv[1:])
