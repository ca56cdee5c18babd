"""What several subcommands share: the data folder, the profile, the folder of a run, the cache."""

import gc
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from contract.bundle import Bundle
from training.config import PROFILES, TrainConfig, read_config
from training.data import DataFolder, read_folder
from training.errors import ConfigError, DataError, RunError
from training.phantom import write_drawn_folder
from training.prepare import Cache, prepare_images
from training.quiet import start_keras
from training.record import RECORD, read_json
from training.split import OFFICIAL, Split

DRAWN: Final = "drawn"
ALL: Final = "all"
"""Of train, validation and test together, where a split is asked for."""

_DRAWN_PATIENTS: Final = 150
_DRAWN_SEED: Final = 1


def add_data(parser: ArgumentParser, *, required: bool = True) -> None:
    """Declare --data, --cache and --allow-missing."""
    parser.add_argument("--data", type=Path, required=required, help="a data folder, or 'drawn'")
    parser.add_argument("--cache", type=Path, help="prepared images (default: below cache/)")
    parser.add_argument("--allow-missing", action="store_true", help="leave out rows without image")


def add_profile(parser: ArgumentParser) -> None:
    """Declare --profile and --set."""
    parser.add_argument("--profile", choices=list(PROFILES), default="demo", help="see config.py")
    add_pairs(parser, "--set", "FIELD=VALUE", "change the profile")


def add_pairs(parser: ArgumentParser, option: str, pair: str, meaning: str) -> None:
    """Declare an option that may be given again and again; its value is a list."""
    parser.add_argument(option, action="append", default=[], metavar=pair, help=meaning)


def add_out(parser: ArgumentParser) -> None:
    """Declare --out."""
    parser.add_argument("--out", type=Path, required=True, help="the model's folder: models/NAME")


def add_run(parser: ArgumentParser) -> None:
    """Declare --run."""
    parser.add_argument("--run", type=Path, help="new folder of the run (default: below runs/)")


def chosen_run(arguments: Namespace, name: str) -> Path:
    """Return the folder of a new run, by default of this time and `name`.

    Raises RunError where it is there already.
    """
    run: Path = arguments.run or Path("runs") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{name}"
    if run.exists():
        raise RunError(
            f"{run} is there already: choose another folder with --run, or continue an unfinished "
            f"training run with `python -m training resume {run}`."
        )
    return run


def read_run(folder: Path) -> dict[str, Any]:
    """Return what a run says about itself; raises RunError for a folder that is none."""
    if not (folder / RECORD).is_file():
        raise RunError(f"{folder} is no run: it holds no {RECORD}.")
    record: dict[str, Any] = read_json(folder / RECORD)
    return record


def check_folder(option: str, folder: Path) -> None:
    """Make a folder that is to be written into; raises ConfigError where nothing can be.

    To be called before work that would be lost.
    """
    _try_writing(f"{option} {folder}", folder)


def check_new(option: str, path: Path) -> None:
    """Make the folder around a file, or a new folder, that is to be written: as `check_folder`."""
    if path.is_dir():
        raise ConfigError(f"{option} {path} is a folder already; name another place.")
    _try_writing(f"{option} {path}", path.parent)


def _try_writing(name: str, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ConfigError(f"{name} cannot be written: {error.strerror}.") from None


def chosen_config(arguments: Namespace) -> TrainConfig:
    """Return the profile with its changes; raises ConfigError for a wrong one."""
    return read_config(arguments.profile, arguments.set)


@contextmanager
def open_data(
    arguments: Namespace, config: TrainConfig, *, tables_only: bool = False
) -> Iterator[DataFolder]:
    """Read and split the data folder, or draw one that lasts as long as the context.

    With `tables_only` no image is looked for, and --allow-missing leaves out no row.
    Raises DataError for what `read_folder` refuses.
    """
    if str(arguments.data) != DRAWN:
        if not arguments.data.is_dir():
            raise DataError(f"There is no folder {arguments.data}.")
        yield read_folder(
            arguments.data,
            config,
            allow_missing=arguments.allow_missing,
            tables_only=tables_only,
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / DRAWN
        write_drawn_folder(drawn, _DRAWN_PATIENTS, _DRAWN_SEED)
        yield read_folder(drawn, config)


def try_weights(config: TrainConfig) -> None:
    """Raise ConfigError where the weights that a fit starts from cannot be had.

    To be called before images are prepared, which may take hours. Does nothing from scratch.
    """
    if not config.pretrained:
        return
    start_keras()
    from training.network import build_network

    build_network(config)
    gc.collect()  # Keras ties a network into cycles that would hold its memory


def find_caution(bundle: Bundle, config: TrainConfig, split: Split, part: str) -> str | None:
    """Say where a bundle has, or may have, learnt from the images it is measured on."""
    name = f"{bundle.name} {bundle.version}"
    if "weights" in bundle.description:
        return (
            f"The weights of {name} may have been trained on these images, so its figures may be "
            "optimistic."
        )
    trained = bundle.description["training_data"]
    learnt = part in ("train", ALL) or (config.folds and part == "validation")
    if learnt and split.sha256() == trained["split_sha256"]:
        return f"{name} was trained on these images, so its figures are optimistic."
    return find_redraw(name, trained, split, part)


def find_redraw(name: str, trained: Mapping[str, Any], split: Split, part: str) -> str | None:
    """Say where a model of another split may have learnt from images of this `part`.

    `trained` holds `split` and `split_sha256` of the model's own. Patients are drawn from those
    that are there, so one more or less draws all of them anew. Only the official test list stays.
    """
    both_official = split.rule == trained["split"] == OFFICIAL
    if split.sha256() == trained["split_sha256"] or (part == "test" and both_official):
        return None
    return (
        f"{name} was trained on another split. Where its patients are among these, it may have "
        "been trained on them, and its figures may be optimistic."
    )


def open_images(arguments: Namespace, config: TrainConfig, data: DataFolder) -> Cache:
    """Open the cache of the data folder's images, filled where it is not yet."""
    home = data.folder if str(arguments.data) == DRAWN else Path("cache")
    folder = arguments.cache or home / f"{data.folder.resolve().name}-{config.input_size}"
    return prepare_images(data.files, config.input_size, folder)
