"""`prepare`: reduce the images of a data folder once."""

from argparse import ArgumentParser, Namespace

from training.commands import options

HELP = "fill the cache of images"


def add(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    options.add_data(parser)
    options.add_profile(parser)


def run(arguments: Namespace) -> None:
    """Fill the cache of a data folder."""
    config = options.chosen_config(arguments)
    with options.open_data(arguments, config) as data:
        cache = options.open_images(arguments, config, data)
    print(f"{len(cache.index)} images of {config.input_size} x {config.input_size}")
