"""`evaluate`: measure a bundle on one set of a data folder."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from contract.bundle import find_bundle, open_bundle
from training.commands import options
from training.config import config_from_dict
from training.evaluate import evaluate, format_report
from training.quiet import start_keras
from training.record import write_json

HELP = "measure a bundle"


def add(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    options.add_data(parser)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test")
    parser.add_argument("--report", type=Path, help="also write the report as JSON")


def run(arguments: Namespace) -> None:
    """Measure a bundle on one set of a data folder, split as its recipe says."""
    start_keras()
    from training.export import predict_bundle

    bundle = open_bundle(find_bundle(arguments.bundle))
    config = config_from_dict(dict(bundle.description["recipe"]))
    with options.open_data(arguments, config) as data:
        if data.split.sha256() != bundle.description["training_data"]["split_sha256"]:
            print("Other data than the bundle was trained on: its split has another hash.")
        cache = options.open_images(arguments, config, data)
        rows = data.split.parts()[arguments.split]
        probabilities = predict_bundle(bundle.path, rows, cache)
    report = evaluate(
        rows, probabilities, bundle.thresholds, config.bootstrap_resamples, config.seed
    )
    print(format_report(report))
    if arguments.report:
        write_json(arguments.report, report)
