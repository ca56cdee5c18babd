"""The whole way from prepared images to a bundle."""

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from training.calibrate import (
    FOLDS,
    apply_scaling,
    calibrate_after_loss,
    cross_validate_calibration,
    scalings_to_dicts,
)
from training.config import TrainConfig
from training.data import DataFolder
from training.dataset import RadiographBatches
from training.devices import describe_hardware
from training.evaluate import format_report
from training.fit import fit, load_best, predict_logits
from training.judgement import Scored, judge_set, look_at_maps, write_folder
from training.losses import share_of_positives, undo_loss
from training.metrics import mean_calibration_error
from training.prepare import Cache
from training.record import CALIBRATION, write_json, write_record
from training.table import Row


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
    run.mkdir(parents=True)
    write_record(run, config, data, keras.backend.backend(), describe_hardware(), command)
    finish(config, data, cache, run, model)


def finish(config: TrainConfig, data: DataFolder, cache: Cache, run: Path, model: Path) -> None:
    """Do what a run begun by `train` still lacks."""
    fit(config, data.split, cache, run)
    judge(config, data, cache, run)
    if keras.backend.backend() == "tensorflow":
        from training.export import export_bundle

        print(f"exported {export_bundle(run, model, data, cache)}")
    elif find_spec("tensorflow"):
        # A process has one backend, and export needs TensorFlow.
        command = [sys.executable, "-m", "training", "export", str(run), "--out", str(model)]
        command += ["--data", str(data.folder), "--cache", str(cache.folder), "--allow-missing"]
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
        subprocess.run(command, env=environment, check=True)  # noqa: S603 - our own arguments
    else:
        print(
            f"TensorFlow is not installed here. Where it is, `python -m training export {run} "
            f"--out {model}` makes the bundle."
        )


def judge(config: TrainConfig, data: DataFolder, cache: Cache, run: Path) -> None:
    """Write CALIBRATION, fitted on validation, and the report on validation and test into `run`."""
    network = load_best(config, run)
    parts = {"validation": data.split.validation, "test": data.split.test}
    logits = {
        name: predict_logits(network, rows, cache, config.batch_size).astype(np.float64)
        for name, rows in parts.items()
    }
    labels = np.array([row.labels for row in data.split.validation])
    patients = np.array([row.patient for row in data.split.validation])
    learnt = np.array([row.labels for row in data.split.train])
    slopes, shifts = undo_loss(config.loss, share_of_positives(learnt))
    honest = logits["validation"] * slopes + shifts
    scalings = calibrate_after_loss(logits["validation"], labels, slopes, shifts)
    probabilities = {name: apply_scaling(scalings, logits[name]) for name in parts}
    summary = {
        "method": "Platt scaling per finding",
        "exceptions": {s.finding: s.method for s in scalings if s.method != "Platt scaling"},
        "split": "validation",
        "ece_before": mean_calibration_error(labels, 1 / (1 + np.exp(-honest))),
        "ece_after": mean_calibration_error(labels, probabilities["validation"]),
        "cross_validation": cross_validate_calibration(honest, labels, patients, config.seed)
        if len(set(patients)) >= FOLDS
        else None,
    }
    write_json(run / CALIBRATION, {"summary": summary, "findings": scalings_to_dicts(scalings)})
    thresholds = [scaling.threshold for scaling in scalings]
    scored = {name: Scored(rows, probabilities[name]) for name, rows in parts.items()}
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
        lambda rows: predict_maps(network, rows, cache, config.batch_size),
    )
    report["about"] = {
        "model": run.name,
        "data": data.folder.name,
        "labels": data.label_version,
        "split": f"test of {data.split.rule}",
    }
    write_folder(run, report, "test", scored, overlays)
    print(f"\ntest\n{format_report(report['test'])}")


def predict_maps(
    network: keras.Model, rows: Sequence[Row], cache: Cache, batch_size: int
) -> NDArray[np.float32]:
    """Return the activation maps of rows in their order, float32[N,h,w,14]."""
    model = keras.Model(network.input, network.output["activation_maps"])
    batches = RadiographBatches(rows, cache, batch_size)
    maps: NDArray[np.float32] = model.predict(batches, verbose=0)
    return maps
