"""`export`: write the bundle of a finished run once more; with its data, in INT8 too."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from training.commands import options
from training.config import config_from_dict
from training.errors import RunError
from training.quiet import start_keras
from training.record import REPORT

HELP = "export a finished run once more"


def add(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    options.add_out(parser)
    options.add_data(parser, required=False)
    parser.add_argument("run", type=Path)


def run(arguments: Namespace) -> None:
    """Export a finished run once more."""
    folder: Path = arguments.run
    record = options.read_run(folder)
    if not (folder / REPORT).exists():
        raise RunError(
            f"{folder} is not finished; `python -m training resume {folder}` continues it."
        )
    options.check_folder("--out", arguments.out)
    start_keras()
    from training.export import export_bundle, tell_export

    if not arguments.data:
        print(tell_export(export_bundle(folder, arguments.out)))
        return
    config = config_from_dict(record["config"])
    with options.open_data(arguments, config) as data:
        cache = options.open_images(arguments, config, data)
        print(tell_export(export_bundle(folder, arguments.out, data, cache)))
