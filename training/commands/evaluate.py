"""`evaluate`: measure a bundle, or predictions in a CSV, on one set of a data folder."""

import math
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path

from contract.bundle import Bundle, find_bundle, open_bundle
from contract.findings import FINDINGS
from training.card import count_knowing
from training.commands import options
from training.commands.options import ALL
from training.config import TrainConfig, config_from_dict, read_config
from training.data import DataFolder
from training.errors import ConfigError
from training.evaluate import format_report
from training.judgement import Scored, judge_set, look_at_maps, write_folder
from training.localise import find_and_read_boxes, read_boxes
from training.operating import choose_all_points
from training.predictions import PREDICTIONS, arrange, predicted_rows, read_predictions
from training.quiet import start_keras
from training.record import RECORD, REPORT, read_json
from training.table import stack_labels

HELP = "measure a bundle, or predictions in a CSV"


def add(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    options.add_data(parser)
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--predictions", type=Path, metavar="CSV", help="instead of a bundle")
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test", ALL),
        help="default: test; all that is predicted with --predictions",
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="write report.html and .json")
    parser.add_argument("--boxes", type=Path, help="box list (default: that of the data folder)")
    meaning = "state PPV and NPV at this share of images (default: that of the set)"
    options.add_pairs(parser, "--prevalence", "FINDING=SHARE", meaning)


def run(arguments: Namespace) -> None:
    """Measure a bundle, split as its recipe says, or predictions in a CSV."""
    if (arguments.bundle is None) == (arguments.predictions is None):
        raise ConfigError("Name either a bundle or --predictions CSV.")
    prevalence = _parse_prevalence(arguments.prevalence)
    if arguments.report:
        options.check_folder("--report", arguments.report)
        if (arguments.report / RECORD).exists():
            raise ConfigError(
                f"--report {arguments.report} is the folder of a run, which holds a report of its "
                "own; choose another."
            )
        if (arguments.report / PREDICTIONS).exists() and not (arguments.report / REPORT).exists():
            raise ConfigError(
                f"--report {arguments.report} holds a {PREDICTIONS} that no report wrote; choose "
                "another."
            )
    if arguments.boxes:
        if not (arguments.report and arguments.bundle):
            raise ConfigError("--boxes is for the --report of a bundle.")
        read_boxes(arguments.boxes)  # before the work, not after it
    if arguments.predictions:
        _evaluate_predictions(arguments, prevalence)
    else:
        _evaluate_bundle(arguments, prevalence)


def _evaluate_predictions(arguments: Namespace, prevalence: dict[str, float]) -> None:
    source = arguments.predictions
    beside = source.parent / RECORD
    run = read_json(beside) if beside.is_file() else None
    # A run's own predictions are split as that was; on other data that may be another split.
    config = config_from_dict(run["config"]) if run else read_config("demo")
    predictions = read_predictions(source)
    part = arguments.split or ALL
    # Labels are enough, but rows left out for want of an image can change the split.
    with options.open_data(arguments, config, tables_only=not arguments.allow_missing) as data:
        caution = None
        if run and data.split.sha256() != run["data"]["split_sha256"]:
            print(f"This is not the data {source.parent} was trained on: the split hash differs.")
            caution = options.find_redraw(str(source.parent), run["data"], data.split, part)
        if caution:
            print(caution)
        parts = {str(name): rows for name, rows in data.split.parts().items()}
        every = [row for rows in parts.values() for row in rows]
        known = predicted_rows(predictions, every, source)
        if part == ALL:
            counts = {name: sum(row.image in predictions for row in parts[name]) for name in parts}
            told = ", ".join(f"{count} of {name}" for name, count in counts.items() if count)
            print(f"Images predicted: {told}. --split measures one set by itself.")
        rows = known if part == ALL else parts[part]
        scored = Scored(rows, arrange(predictions, rows, source))
        validation = None
        if part == "test" and all(row.image in predictions for row in parts["validation"]):
            validation = Scored(
                parts["validation"], arrange(predictions, parts["validation"], source)
            )
        about = {"model": source.name, **_describe_data(data, part, caution)}
    chosen_on = validation or scored
    points = choose_all_points(stack_labels(chosen_on.rows), chosen_on.probabilities)
    thresholds = [of_finding[0].threshold for of_finding in points]
    report = judge_set(scored, validation, thresholds, config, prevalence)
    print(format_report(report))
    if arguments.report:
        write_folder(arguments.report, {"about": about, part: report}, part, {part: scored})


def _evaluate_bundle(arguments: Namespace, prevalence: dict[str, float]) -> None:
    start_keras()
    bundle = open_bundle(find_bundle(arguments.bundle))
    config = config_from_dict(dict(bundle.description["recipe"]))
    part = arguments.split or "test"
    with options.open_data(arguments, config) as data:
        if data.split.sha256() != bundle.description["training_data"]["split_sha256"]:
            print("This is not the data the bundle was trained on: the split hash differs.")
        _judge_bundle(arguments, prevalence, bundle, config, data, part)


def _judge_bundle(
    arguments: Namespace,
    prevalence: dict[str, float],
    bundle: Bundle,
    config: TrainConfig,
    data: DataFolder,
    part: str,
) -> None:
    from training.export import predict_bundle

    if arguments.report and not arguments.boxes:
        find_and_read_boxes(data.folder)
    caution = options.find_caution(bundle, config, data.split, part)
    if caution:
        print(caution)
    cache = options.open_images(arguments, config, data)
    parts = {str(name): rows for name, rows in data.split.parts().items()}
    parts[ALL] = tuple(row for rows in parts.values() for row in rows)
    names = {part, "validation"} if arguments.report else {part}
    scored = {
        name: Scored(parts[name], predict_bundle(bundle.path, parts[name], cache))
        for name in sorted(names)
    }
    report = judge_set(
        scored[part], scored.get("validation"), bundle.thresholds, config, prevalence
    )
    if config.folds and report["points_chosen_on"] == "validation":
        # Only the run has the answers of the one member that never saw the image.
        report["points_chosen_on"] = (
            f"validation images that {count_knowing(asdict(config))} networks have learnt from; "
            "the report in the run's folder chooses them out of folds"
        )
    print(format_report(report))
    if not arguments.report:
        return
    report["localisation"], overlays = look_at_maps(
        scored[part],
        bundle.thresholds,
        config,
        data,
        cache,
        lambda rows: predict_bundle(bundle.path, rows, cache, "activation_maps"),
        arguments.boxes,
    )
    about = {
        "model": f"{bundle.name} {bundle.version}",
        "digest": bundle.digest,
        "intended use": str(bundle.description["intended_use"]),
        **_describe_data(data, part, caution),
    }
    # `all` holds the validation images a second time.
    kept = {name: one for name, one in scored.items() if part != ALL or name == ALL}
    write_folder(arguments.report, {"about": about, part: report}, part, kept, overlays)
    print(f"wrote {arguments.report}")


def _describe_data(data: DataFolder, part: str, caution: str | None) -> dict[str, str]:
    return {
        "data": data.folder.resolve().name,
        "labels": data.label_version,
        "split": f"{part} of {data.split.rule}",
        **({"caution": caution} if caution else {}),
    }


def _parse_prevalence(pairs: list[str]) -> dict[str, float]:
    prevalence = {}
    for pair in pairs:
        finding, _, text = pair.partition("=")
        try:
            share = float(text)
        except ValueError:
            share = math.nan
        if finding not in FINDINGS or not 0 < share < 1:
            raise ConfigError(f"{pair!r} is not FINDING=SHARE, as Effusion=0.03.")
        prevalence[finding] = share
    return prevalence
