"""`import`: published weights of others to a bundle."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Final

from training.commands import options
from training.config import read_config
from training.errors import ConfigError
from training.quiet import start_keras

HELP = "make a bundle of published weights"
_KINDS: Final = ("chexnet-keras", "arnoweng", "zoogzog", "torchxrayvision")
_SETTABLE: Final = ("validation_share", "test_share", "bootstrap_resamples", "seed")


def add(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", type=Path, help="the file of weights")
    parser.add_argument("--kind", choices=_KINDS, required=True, help="see docs/importing.md")
    options.add_data(parser)
    options.add_out(parser)
    options.add_run(parser)
    options.add_pairs(
        parser, "--set", "FIELD=VALUE", f"change how it is judged: {', '.join(_SETTABLE)}"
    )


def run(arguments: Namespace) -> None:
    """Calibrate published weights on validation, evaluate them on test, export a bundle."""
    for change in arguments.set:
        if change.partition("=")[0] not in _SETTABLE:
            raise ConfigError(f"{change!r}: an import can set {', '.join(_SETTABLE)}.")
    folder = options.chosen_run(arguments, arguments.kind)
    # Before Keras starts and before any image is read: a file may well be refused.
    from training.importers.published import KINDS, describe_origin, read_published

    kind = KINDS[arguments.kind]
    weights = read_published(arguments.file, kind)
    origin = describe_origin(arguments.file, arguments.kind, kind)
    options.check_folder("--out", arguments.out)
    options.check_new("--run", folder)
    start_keras()
    from training.export import tell_export
    from training.importers.adopt import adopt, import_config

    config = import_config(read_config("densenet121", arguments.set), kind)
    with options.open_data(arguments, config) as data:
        cache = options.open_images(arguments, config, data)
        bundle = adopt(weights, origin, config, data, cache, folder, arguments.out)
    print(f"These weights were trained on {kind.trained_on}.")
    print("Where your test images are among those, the figures above are optimistic.")
    print(tell_export(bundle))
