"""`compare`: two bundles, runs or prediction files on the same radiographs."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.bundle import Bundle, find_bundle, open_bundle
from training.commands import options
from training.compare import compare, format_comparison
from training.config import TrainConfig, config_from_dict, read_config
from training.errors import DataError
from training.judgement import Scored
from training.predictions import PREDICTIONS, arrange, predicted_rows, read_predictions
from training.quiet import start_keras
from training.record import RECORD, read_json, write_json
from training.split import Split, SplitName
from training.table import Row

HELP = "compare two bundles, runs or prediction files"


@dataclass(frozen=True)
class _Side:
    """One of the two: a CSV with predictions or a bundle, and the config that split its data.

    `data`: what the run that it belongs to, if any, says of its data.
    """

    path: Path
    config: TrainConfig | None
    bundle: Bundle | None = None
    data: dict[str, Any] | None = None


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
    if arguments.out:
        options.check_new("--out", arguments.out)
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
        beside = path.parent / RECORD
        return _Side(path, None, data=read_json(beside)["data"] if beside.is_file() else None)
    if (path / RECORD).is_file():
        if not (path / PREDICTIONS).is_file():
            raise DataError(f"The run {path} has no {PREDICTIONS}; compare its bundle instead.")
        record = read_json(path / RECORD)
        return _Side(path / PREDICTIONS, config_from_dict(record["config"]), data=record["data"])
    bundle = open_bundle(find_bundle(path))
    return _Side(bundle.path, config_from_dict(dict(bundle.description["recipe"])), bundle)


def _predict(arguments: Namespace, side: _Side, config: TrainConfig) -> Scored:
    with options.open_data(arguments, config) as data:
        part: SplitName = arguments.split or "test"
        rows = data.split.parts()[part]
        _print_caution(side, config, data.split, part)
        if not side.bundle:
            return Scored(rows, arrange(read_predictions(side.path), rows, side.path))
        cache = options.open_images(arguments, config, data)
        start_keras()
        from training.export import predict_bundle

        return Scored(rows, predict_bundle(side.path, rows, cache))


def _print_caution(side: _Side, config: TrainConfig, split: Split, part: SplitName) -> None:
    caution = None
    if side.bundle:
        caution = options.find_caution(side.bundle, config, split, part)
    elif side.data:
        caution = options.find_redraw(str(side.path.parent), side.data, split, part)
    if caution:
        print(caution)


def _read_common(
    arguments: Namespace, sides: list[_Side], config: TrainConfig
) -> tuple[Scored, Scored]:
    """Return what both of two CSV files predict; without --split whatever set it is of."""
    read = [read_predictions(side.path) for side in sides]
    # Labels are enough, but rows left out for want of an image can change the split.
    with options.open_data(arguments, config, tables_only=not arguments.allow_missing) as data:
        parts = data.split.parts()
    rows: tuple[Row, ...]
    if arguments.split:
        rows = parts[arguments.split]
        for side in sides:
            _print_caution(side, config, data.split, arguments.split)
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
