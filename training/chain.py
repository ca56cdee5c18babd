"""The whole way from prepared images to a bundle."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from training.calibrate import (
    FOLDS,
    Scaling,
    apply_scaling,
    calibrate_after_loss,
    cross_calibrate,
    cross_validate_calibration,
)
from training.config import TrainConfig
from training.data import DataFolder
from training.devices import describe_hardware, read_cpuinfo, without_slow_bfloat16
from training.disk import lock_folder
from training.errors import RunError
from training.evaluate import format_report
from training.facts import without_untold_facts
from training.fit import fit, load_best, predict
from training.folds import fit_folds, learnt_rows, read_out_of_fold
from training.history import find_history
from training.judgement import Scored, judge_set, look_at_maps, write_folder
from training.localise import find_and_read_boxes
from training.losses import share_of_positives, undo_loss
from training.metrics import mean_calibration_error
from training.platt import sigmoid
from training.prepare import Cache
from training.record import (
    CALIBRATION,
    NEIGHBOURS,
    RECORD,
    describe_data,
    read_json,
    write_json,
    write_record,
)
from training.split import Split, assign_folds
from training.table import Row, stack_labels


def train(
    config: TrainConfig,
    data: DataFolder,
    cache: Cache,
    run: Path,
    model: Path,
    command: Sequence[str] = (),
) -> None:
    """Fit, calibrate on validation, evaluate once on test and export to the next `model/<n>`.

    Everything but the bundle goes into the new folder `run`, `command` (what followed `python -m
    training`) too. Raises FileExistsError where the folder is there already.
    """
    _check(config, data)
    config = without_untold_facts(config, learnt_rows(data.split))
    config = without_slow_bfloat16(config, read_cpuinfo())
    config, data = find_history(config, data)
    run.mkdir(parents=True)
    write_record(run, config, data, keras.backend.backend(), describe_hardware(), command)
    _finish(config, data, cache, run, model)


def finish(config: TrainConfig, data: DataFolder, cache: Cache, run: Path, model: Path) -> None:
    """Do what a run begun by `train` still lacks.

    Raises RunError while another process does it, or where neighbours' labels are others.
    """
    _check(config, data)
    if config.history_share:
        config, data = find_history(config, data)
        begun, now = read_json(run / RECORD)["data"], describe_data(data)
        if begun.get(NEIGHBOURS) != now.get(NEIGHBOURS):
            raise RunError(f"The neighbours of the images are not those {run} was begun with.")
    _finish(config, data, cache, run, model)


def _finish(config: TrainConfig, data: DataFolder, cache: Cache, run: Path, model: Path) -> None:
    with lock_folder(run, wait=False):
        if config.folds:
            fit_folds(config, data.split, cache, run)
        else:
            fit(config, data.split.train, data.split.validation, cache, run)
        judge(config, data, cache, run)
    if keras.backend.backend() == "tensorflow":
        from training.export import export_bundle, tell_export

        print(tell_export(export_bundle(run, model, data, cache)))
    elif find_spec("tensorflow"):
        # A process has one backend, and export needs TensorFlow.
        command = [sys.executable, "-m", "training", "export", str(run), "--out", str(model)]
        command += ["--data", str(data.folder), "--cache", str(cache.folder), "--allow-missing"]
        sys.stdout.flush()  # before what the other process prints
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
        subprocess.run(command, env=environment, check=True)  # noqa: S603 - our own arguments
    else:
        print(
            f"TensorFlow is not installed here. Where it is, `python -m training export {run} "
            f"--out {model} --data {data.folder}` makes the bundle."
        )


def _check(config: TrainConfig, data: DataFolder) -> None:
    """Raise DataError for what is better said before the fit, and before there is a folder."""
    find_and_read_boxes(data.folder)
    if config.folds:
        assign_folds(learnt_rows(data.split), config.folds, config.seed)


def judge(config: TrainConfig, data: DataFolder, cache: Cache, run: Path) -> None:
    """Write CALIBRATION, fitted on held-out images, and the report on them and on test into `run`.

    Held out is validation. With folds it is every image that was learnt from, answered by the
    member that never saw it. The report measures both sets on the scale that the bundle answers in,
    so that thresholds and operating points mean there what they mean here; what calibration is
    worth on images that it was not fitted on is told in CALIBRATION.
    """
    network, split = load_best(config, run), data.split
    held_out, held_out_logits = _answer_held_out(config, split, cache, run, network)
    test_logits = predict(network, split.test, cache, config.batch_size)
    scalings, summary = _calibrate(config, split, held_out, held_out_logits)
    findings = [asdict(scaling) for scaling in scalings]
    write_json(run / CALIBRATION, {"summary": summary, "findings": findings})
    thresholds = [scaling.threshold for scaling in scalings]
    scored = {
        "validation": Scored(held_out, apply_scaling(scalings, held_out_logits)),
        "test": Scored(split.test, apply_scaling(scalings, test_logits)),
    }
    report: dict[str, Any] = {
        name: judge_set(one, scored["validation"], thresholds, config)
        for name, one in scored.items()
    }
    report["test"]["localisation"], overlays = look_at_maps(
        scored["test"],
        thresholds,
        config,
        data,
        cache,
        lambda rows: predict(network, rows, cache, config.batch_size, "activation_maps"),
    )
    report["about"] = {
        "model": run.name,
        "data": data.folder.resolve().name,
        "labels": data.label_version,
        "split": f"test of {split.rule}",
    }
    if config.folds:
        report["test"]["points_chosen_on"] = "answers out of folds"
    write_folder(run, report, "test", scored, overlays)
    for name in scored:
        told = "out of folds" if config.folds and name == "validation" else name
        print(f"\n{told}\n{format_report(report[name])}")


def _answer_held_out(
    config: TrainConfig, split: Split, cache: Cache, run: Path, network: keras.Model
) -> tuple[Sequence[Row], NDArray[np.float32]]:
    """Return the rows that the network, or the member that answers, never saw, and their logits."""
    if config.folds:
        return learnt_rows(split), read_out_of_fold(config, split, run)
    rows = split.validation
    return rows, predict(network, rows, cache, config.batch_size)


def _calibrate(
    config: TrainConfig, split: Split, rows: Sequence[Row], logits: NDArray[np.float32]
) -> tuple[list[Scaling], dict[str, Any]]:
    """Fit the calibration on held-out rows and their logits [N,14]; return it with its summary.

    With folds the summary's error after it is that of each fold calibrated on the others.
    """
    labels = stack_labels(rows)
    learnt = stack_labels(learnt_rows(split) if config.folds else split.train)
    slopes, shifts = undo_loss(config.loss, share_of_positives(learnt))
    corrected = logits * slopes + shifts
    scalings = calibrate_after_loss(logits, labels, slopes, shifts)
    probabilities = apply_scaling(scalings, logits)
    if config.folds:
        folds = assign_folds(rows, config.folds, config.seed)
        probabilities = cross_calibrate(corrected, labels, folds)
    summary = {
        "method": "Platt scaling per finding",
        "exceptions": {s.finding: s.method for s in scalings if s.method != "Platt scaling"},
        "split": f"out of {config.folds} folds" if config.folds else "validation",
        "ece_before": mean_calibration_error(labels, sigmoid(corrected)),
        "ece_after": mean_calibration_error(labels, probabilities),
        "cross_validation": cross_validate_calibration(rows, corrected, config.seed)
        if len({row.patient for row in rows}) >= FOLDS
        else None,
    }
    return scalings, summary
