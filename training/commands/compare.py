"""`compare`: two bundles, runs or prediction files on the same radiographs."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from contract.bundle import Bundle, find_bundle, open_bundle
from training.commands import options
from training.compare import compare, format_comparison
from training.config import TrainConfig, config_from_dict, read_config
from training.errors import DataError
from training.judgement import Scored
from training.predictions import PREDICTIONS, arrange, predicted_rows, read_predictions
from training.quiet import start_keras
from training.record import RECORD, read_json, write_json
from training.split import SplitName
from training.table import Row

HELP = "compare two bundles, runs or prediction files"


@dataclass(frozen=True)
class _Side:
    """One of the two: a CSV with predictions or a bundle, and the config that split its data.

    `split_sha256`: of the split that a run was fitted on.
    """

    path: Path
    config: TrainConfig | None
    bundle: Bundle | None = None
    split_sha256: str | None = None


def add(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    options.add_data(parser)
    parser.add_argument("first", type=Path, metavar="A", help="a bundle, run folder or CSV")
    parser.add_argument("second", type=Path, metavar="B", help="likewise")
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test"),
        help="default: test; with two CSV files what both hold",
    )
    parser.add_argument("--out", type=Path, metavar="JSON", help="also write the comparison")


def run(arguments: Namespace) -> None:
    """Compare two models by a paired bootstrap of patients; positive means that B is better."""
    sides = [_recognise(path) for path in (arguments.first, arguments.second)]
    if all(side.config is None for side in sides):
        config = read_config("demo")
        first, second = _read_common(arguments, sides, config)
    else:
        config = next(side.config for side in sides if side.config)
        first, second = (_predict(arguments, side, side.config or config) for side in sides)
        if [row.image for row in first.rows] != [row.image for row in second.rows]:
            raise DataError(
                f"{arguments.first} and {arguments.second} were split apart differently, so one "
                "may have learnt what the other is tested on. Compare models of one split."
            )
    comparison = compare(
        first.rows,
        first.probabilities,
        second.probabilities,
        config.bootstrap_resamples,
        config.seed,
    )
    print(format_comparison(comparison, str(arguments.first), str(arguments.second)))
    if arguments.out:
        names = {"first": str(arguments.first), "second": str(arguments.second)}
        write_json(arguments.out, {**names, **comparison})


def _recognise(path: Path) -> _Side:
    if path.is_file():
        return _Side(path, None)
    if (path / RECORD).is_file():
        if not (path / PREDICTIONS).is_file():
            raise DataError(f"The run {path} has no {PREDICTIONS}; compare its bundle instead.")
        record = read_json(path / RECORD)
        config = config_from_dict(record["config"])
        sha256 = record["data"]["split_sha256"]
        return _Side(path / PREDICTIONS, config, split_sha256=sha256)
    bundle = open_bundle(find_bundle(path))
    return _Side(bundle.path, config_from_dict(dict(bundle.description["recipe"])), bundle)


def _predict(arguments: Namespace, side: _Side, config: TrainConfig) -> Scored:
    with options.open_data(arguments, config) as data:
        part: SplitName = arguments.split or "test"
        rows = data.split.parts()[part]
        caution = None
        if side.bundle:
            caution = options.find_caution(side.bundle, config, data.split, part)
        elif side.split_sha256:
            name = str(side.path.parent)
            caution = options.find_redraw(name, side.split_sha256, data.split, part)
        if caution:
            print(caution)
        if not side.bundle:
            return Scored(rows, arrange(read_predictions(side.path), rows, side.path))
        cache = options.open_images(arguments, config, data)
        start_keras()
        from training.export import predict_bundle

        return Scored(rows, predict_bundle(side.path, rows, cache))


def _read_common(
    arguments: Namespace, sides: list[_Side], config: TrainConfig
) -> tuple[Scored, Scored]:
    """Return what both of two CSV files predict; without --split whatever set it is of."""
    read = [read_predictions(side.path) for side in sides]
    with options.open_data(arguments, config, tables_only=True) as data:
        parts = data.split.parts()
    rows: tuple[Row, ...]
    if arguments.split:
        rows = parts[arguments.split]
    else:
        every = [row for part in parts.values() for row in part]
        known = [
            predicted_rows(one, every, side.path) for one, side in zip(read, sides, strict=True)
        ]
        rows = tuple(row for row in known[0] if row.image in read[1])
        if not rows:
            raise DataError("The two files predict no image in common.")
        if left_out := sum(map(len, known)) - 2 * len(rows):
            print(f"Left out: {left_out} predictions of images that only one of the files has.")
    first, second = (
        Scored(rows, arrange(one, rows, side.path)) for one, side in zip(read, sides, strict=True)
    )
    return first, second
