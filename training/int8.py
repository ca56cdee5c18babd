"""What INT8 costs a bundle's network, and whether the bundle gets it."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino
from numpy.typing import NDArray

from contract.bundle import INT8_MAX_AUROC_FALL
from contract.findings import FINDINGS
from training.compare import compare
from training.metrics import mean_calibration_error
from training.prepare import Cache
from training.quantise import quantise, write_int8
from training.split import SplitName
from training.table import Row, stack_labels

CALIBRATION_IMAGES: Final = 300
"""At most; NNCF's own default, and enough for the range of every activation."""


def add_int8(
    bundle: Path,
    parts: Mapping[SplitName, Sequence[Row]],
    cache: Cache,
    thresholds: Sequence[float],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Quantise the SavedModel in `bundle`, judge it, and write INT8 beside it where that is good.

    Ranges are measured on up to CALIBRATION_IMAGES validation images drawn with `seed`. The network
    is kept where macro AUROC on validation falls by at most INT8_MAX_AUROC_FALL, whatever the
    interval of that change over paired `resamples` of patients; the other `parts` are measured
    only. Returns the entry `int8` of the bundle's description, kept or not.
    """
    rows = parts["validation"]
    drawn = np.random.default_rng(seed).permutation(len(rows))[:CALIBRATION_IMAGES]
    network = quantise(bundle, _Images([rows[n] for n in drawn], cache))
    measured = {
        name: _compare(
            part,
            predict(bundle, _Images(part, cache)),
            predict(network, _Images(part, cache)),
            np.array(thresholds),
            resamples,
            seed,
        )
        for name, part in parts.items()
    }
    judged = measured["validation"]
    change = judged["macro_auroc_change"]
    kept = change is not None and change >= -INT8_MAX_AUROC_FALL
    if kept:
        write_int8(network, bundle)
    return {
        "kept": kept,
        "macro_auroc_change": change,
        "macro_auroc_change_ci": judged["macro_auroc_change_ci"],
        "macro_auroc_fall_limit": INT8_MAX_AUROC_FALL,
        "calibration_images": len(drawn),
        "measured": measured,
        "versions": {package: version(package) for package in ("nncf", "openvino")},
    }


def predict(
    network: openvino.Model | Path, images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Return the probabilities of images uint8[S,S,1], float32[N,14], run as the service does."""
    core = openvino.Core()
    network = core.read_model(network) if isinstance(network, Path) else network.clone()
    network.reshape([1, *images[0].shape])
    hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
    queue = openvino.AsyncInferQueue(core.compile_model(network, "CPU", hints))
    answers = np.empty((len(images), len(FINDINGS)), np.float32)
    queue.set_callback(
        lambda request, n: np.copyto(answers[n], request.get_tensor("probabilities").data[0])
    )
    for n, image in enumerate(images):
        queue.start_async({"image": image[np.newaxis]}, n)
    queue.wait_all()
    return answers


class _Images(Sequence[NDArray[np.uint8]]):
    """The images of rows, uint8[S,S,1] each, read from the cache when they are asked for."""

    def __init__(self, rows: Sequence[Row], cache: Cache) -> None:
        self._places = [cache.index[row.image] for row in rows]
        self._pixels = cache.pixels

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: Any) -> Any:
        return self._pixels[self._places[number]]


def _compare(
    rows: Sequence[Row],
    float32: NDArray[np.float32],
    int8: NDArray[np.float32],
    thresholds: NDArray[np.float64],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    labels = stack_labels(rows)
    macro = compare(rows, float32, int8, resamples, seed)["findings"][0]["auroc"]
    difference = np.abs(float32 - int8)
    return {
        "images": len(rows),
        "macro_auroc": macro["second"],
        "macro_auroc_change": macro["difference"],
        "macro_auroc_change_ci": macro["difference_ci"],
        "ece": mean_calibration_error(labels, int8),
        "ece_float32": mean_calibration_error(labels, float32),
        "largest_probability_difference": float(difference.max()),
        "mean_probability_difference": float(difference.mean()),
        "calls_turned_over": int(((float32 >= thresholds) != (int8 >= thresholds)).sum()),
    }
