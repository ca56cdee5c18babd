"""The subcommands of `python -m training`; each imports what is heavy only when it runs."""

import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from contract.bundle import find_bundle, open_bundle
from training.config import TrainConfig, config_from_dict, read_config
from training.data import DataFolder, read_folder
from training.errors import DataError
from training.evaluate import evaluate, format_report
from training.phantom import write_drawn_folder
from training.prepare import Cache, prepare_images
from training.quiet import start_keras
from training.record import describe_data, write_json

DRAWN: Final = "drawn"
_DRAWN_PATIENTS: Final = 150
_DRAWN_SEED: Final = 1


def run_inspect(arguments: Namespace) -> None:
    """Print the sets of a data folder with their images, patients and positives."""
    with _open_data(arguments, _config(arguments)) as data:
        described = describe_data(data)
    print(f"{described['label_version']}; {described['split']}; no patient on two sides")
    sets = described["sets"]
    print(f"{'':20}" + "".join(f"{name:>12}" for name in sets))
    for what in ("images", "patients"):
        print(f"{what:20}" + "".join(f"{one[what]:>12}" for one in sets.values()))
    for finding in sets["train"]["positives"]:
        print(
            f"{finding:20}" + "".join(f"{one['positives'][finding]:>12}" for one in sets.values())
        )


def run_prepare(arguments: Namespace) -> None:
    """Fill the cache of a data folder."""
    config = _config(arguments)
    with _open_data(arguments, config) as data:
        cache = _open_cache(arguments, config, data)
    print(f"{len(cache.pixels)} images of {config.input_size} x {config.input_size}")


def run_train(arguments: Namespace) -> None:
    """Run the whole chain from data folder to bundle."""
    config = _config(arguments)
    run = arguments.run or Path("runs") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{arguments.profile}"
    with _open_data(arguments, config) as data:
        cache = _open_cache(arguments, config, data)
        start_keras()
        from training.chain import train

        train(config, data, cache, run, arguments.out)


def run_export(arguments: Namespace) -> None:
    """Export a finished run once more."""
    start_keras()
    from training.export import export_bundle

    print(export_bundle(arguments.run, arguments.out))


def run_evaluate(arguments: Namespace) -> None:
    """Measure a bundle on one set of a data folder, split as its recipe says."""
    start_keras()
    from training.export import predict_bundle

    bundle = open_bundle(find_bundle(arguments.bundle))
    config = config_from_dict(dict(bundle.description["recipe"]))
    with _open_data(arguments, config) as data:
        if data.split.sha256() != bundle.description["training_data"]["split_sha256"]:
            print("Other data than the bundle was trained on: its split has another hash.")
        cache = _open_cache(arguments, config, data)
        rows = data.split.parts()[arguments.split]
        probabilities = predict_bundle(bundle.path, rows, cache)
    report = evaluate(
        rows, probabilities, bundle.thresholds, config.bootstrap_resamples, config.seed
    )
    print(format_report(report))
    if arguments.report:
        write_json(arguments.report, report)


def _config(arguments: Namespace) -> TrainConfig:
    return read_config(arguments.profile, arguments.set)


@contextmanager
def _open_data(arguments: Namespace, config: TrainConfig) -> Iterator[DataFolder]:
    if str(arguments.data) != DRAWN:
        if not arguments.data.is_dir():
            raise DataError(f"There is no folder {arguments.data}.")
        yield read_folder(arguments.data, config, allow_missing=arguments.allow_missing)
        return
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / DRAWN
        write_drawn_folder(drawn, _DRAWN_PATIENTS, _DRAWN_SEED)
        yield read_folder(drawn, config)


def _open_cache(arguments: Namespace, config: TrainConfig, data: DataFolder) -> Cache:
    home = data.folder if str(arguments.data) == DRAWN else Path("cache")
    folder = arguments.cache or home / f"{data.folder.resolve().name}-{config.input_size}"
    return prepare_images(data.files, config.input_size, folder)
