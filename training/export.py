"""A finished run -> a sealed model bundle; always on TensorFlow."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from contract.bundle import CARD, GOLDEN, INT8, list_versions, seal_bundle
from contract.pixels import to_model_input
from contract.radiograph import Radiograph
from contract.seal import read_description
from training.calibrate import Scaling
from training.card import write_card
from training.config import TrainConfig, config_from_dict
from training.data import DataFolder
from training.dataset import RadiographBatches
from training.describe import describe
from training.disk import lock_folder
from training.errors import ConfigError, DataError
from training.fit import load_best
from training.network import build_calibrated
from training.phantom import DRAWN_FINDINGS, draw_phantom
from training.prepare import Cache
from training.record import CALIBRATION, RECORD, REPORT, read_json
from training.split import SplitName
from training.table import Row

_BATCH_SIZE: Final = 32

GOLDEN_FINDINGS: Final = ((), DRAWN_FINDINGS[:1], DRAWN_FINDINGS[1:2], DRAWN_FINDINGS[2:])
"""Findings drawn into the four golden inputs; none of them shows a patient."""


def export_bundle(
    run: Path, model: Path, data: DataFolder | None = None, cache: Cache | None = None
) -> Path:
    """Export a run as the next free version `model/<n>` and return that directory.

    With the data and prepared images of the run, the bundle also holds the network in INT8 where
    that loses next to nothing. Raises ConfigError under a Keras backend other than TensorFlow,
    DataError for other data than the run's, BundleError where the result does not verify.
    """
    if keras.backend.backend() != "tensorflow":
        raise ConfigError("Export runs on TensorFlow: set KERAS_BACKEND=tensorflow.")
    record, report = read_json(run / RECORD), read_json(run / REPORT)
    if data and data.split.sha256() != record["data"]["split_sha256"]:
        raise DataError(f"{data.folder} has another split than the run; give the run's own data.")
    scalings = [Scaling(**values) for values in read_json(run / CALIBRATION)["findings"]]
    config = config_from_dict(record["config"])
    model.mkdir(parents=True, exist_ok=True)
    # Another export would take the same number.
    with lock_folder(model):
        finished = model / str(_next_version(model))
        # Judging INT8 may take an hour, and what lies under a number is served.
        bundle = model / f".{finished.name}.unfinished"
        shutil.rmtree(bundle, ignore_errors=True)
        slopes = np.array([scaling.slope for scaling in scalings])
        intercepts = np.array([scaling.intercept for scaling in scalings])
        write_saved_model(build_calibrated(load_best(config, run), slopes, intercepts), bundle)
        calibration = read_json(run / CALIBRATION)["summary"]
        description = describe(model.name, finished.name, record, scalings, calibration, report)
        if data and cache:
            thresholds = [scaling.threshold for scaling in scalings]
            description["int8"] = _quantise(bundle, data, cache, thresholds, config)
        write_golden(bundle, config.input_size)
        (bundle / CARD).write_text(write_card(description, report))
        seal_bundle(bundle, description)
        return bundle.rename(finished)


def tell_export(bundle: Path) -> str:
    """Say where a bundle lies and in which precisions it answers."""
    int8 = read_description(bundle).get("int8")
    if int8 is None:
        return f"exported {bundle}, in float32 only: INT8 needs the run's --data"
    if int8["kept"]:
        return f"exported {bundle}, in float32 and INT8"
    change, limit = int8["macro_auroc_change"], int8["macro_auroc_fall_limit"]
    lost = (
        "cannot be judged"
        if change is None
        else f"lowers macro AUROC by {-change:.5f}, more than the {limit} allowed"
    )
    return f"exported {bundle}, in float32 only: INT8 {lost}"


def _quantise(
    bundle: Path, data: DataFolder, cache: Cache, thresholds: Sequence[float], config: TrainConfig
) -> dict[str, Any]:
    # Imported here: NNCF is not needed to export without data, nor to read a bundle.
    from training.int8 import add_int8

    judged: dict[SplitName, Sequence[Row]] = {
        "validation": data.split.validation,
        "test": data.split.test,
    }
    return add_int8(bundle, judged, cache, thresholds, config.bootstrap_resamples, config.seed)


def load_signature(bundle: Path) -> Any:
    """Return the serving function of a SavedModel: image=uint8[N,S,S,1] -> dict of tensors."""
    return tf.saved_model.load(str(bundle)).signatures["serving_default"]


def predict_bundle(
    bundle: Path, rows: Sequence[Row], cache: Cache, output: str = "probabilities"
) -> NDArray[np.float32]:
    """Return one output of a bundle's signature for rows in their order, float32[N,...]."""
    serve = load_signature(bundle)
    batches = RadiographBatches(rows, cache, _BATCH_SIZE)
    answers = [
        serve(image=tf.constant(images))[output].numpy()
        for images, _ in (batches[n] for n in range(len(batches)))
    ]
    return np.concatenate(answers)


def write_saved_model(calibrated: keras.Model, bundle: Path) -> None:
    """Write the network of `build_calibrated` as a SavedModel with the contract's signature."""
    # The endpoint's variables are found by themselves; `track` would write each a second time.
    archive = keras.export.ExportArchive()
    archive.add_endpoint(
        "serving_default",
        lambda image: calibrated(image, training=False),
        [tf.TensorSpec(calibrated.input_shape, tf.uint8, name="image")],
    )
    archive.write_out(str(bundle), verbose=False)


def write_golden(bundle: Path, size: int) -> None:
    """Add drawn inputs of `size` pixels and what the networks in `bundle` answer to each."""
    images = np.stack([_draw_golden(n, size) for n in range(len(GOLDEN_FINDINGS))])
    serve = load_signature(bundle)
    # One at a time, as the service runs it: batch sizes differ in the last bits.
    answers = [serve(image=tf.constant(image[np.newaxis])) for image in images]
    probabilities, logits = (
        np.concatenate([answer[name].numpy() for answer in answers])
        for name in ("probabilities", "logits")
    )
    arrays: dict[str, Any] = {"image": images, "probabilities": probabilities, "logits": logits}
    if (bundle / INT8).exists():
        from training.int8 import predict

        arrays["int8_probabilities"] = predict(bundle / INT8, images)
    (bundle / GOLDEN).parent.mkdir()
    np.savez_compressed(bundle / GOLDEN, **arrays)


def _next_version(model: Path) -> int:
    return int(list_versions(model)[-1].name) + 1 if list_versions(model) else 1


def _draw_golden(seed: int, size: int) -> NDArray[np.uint8]:
    pixels = draw_phantom(seed, GOLDEN_FINDINGS[seed])
    return to_model_input(Radiograph(pixels, "PNG", 8), size)
