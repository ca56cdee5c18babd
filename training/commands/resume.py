"""`resume`: continue a run that was interrupted."""

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from training.commands import options, train
from training.config import config_from_dict
from training.errors import RunError
from training.quiet import start_keras
from training.record import REPORT, read_commit

HELP = "continue a run that was interrupted"


def add(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", type=Path, help="the folder of the run")


def run(arguments: Namespace) -> None:
    """Continue a run after its last whole epoch, as if it had not been interrupted.

    To be called from the folder where the run was begun.
    """
    folder: Path = arguments.run
    record = options.read_run(folder)
    begun = _parse(folder, record["command"])
    if (folder / REPORT).exists():
        raise RunError(
            f"{folder} is finished; `python -m training export {folder} --out {begun.out} "
            f"--data {begun.data}` makes a bundle."
        )
    # Both must be as they were, and only the environment chooses the backend.
    os.environ["KERAS_BACKEND"] = record["backend"]
    if record["code_commit"] != read_commit():
        print(f"The code has changed since the run began (commit {record['code_commit']}).")
    config = config_from_dict(record["config"])
    with options.open_data(begun, config) as data:
        if data.split.sha256() != record["data"]["split_sha256"]:
            raise RunError(f"The data are not those {folder} was begun with: other split hash.")
        options.check_folder("--out", begun.out)
        cache = options.open_images(begun, config, data)
        start_keras()
        from training.chain import finish

        finish(config, data, cache, folder, begun.out)


def _parse(folder: Path, command: list[str]) -> Namespace:
    if command[:1] != ["train"]:
        by = f"by `{command[0]}`" if command else "from no command line"
        raise RunError(
            f"{folder} was begun {by}, and only `train` can be continued: delete the folder and "
            "run that again."
        )
    parser = ArgumentParser()
    train.add(parser)
    begun = parser.parse_args(command[1:])
    # The record holds no path of a machine that the command line did not.
    if str(begun.data) != options.DRAWN and not begun.data.is_dir():
        raise RunError(
            f"There is no folder {begun.data} here. The paths of a run are those of its command "
            "line: resume it from the folder where it was begun."
        )
    return begun
