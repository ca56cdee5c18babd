"""The SavedModel of a bundle -> the same network in INT8 for OpenVINO, and what that costs."""

import contextlib
import io
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino._offline_transformations import apply_moc_transformations

from contract.bundle import INT8, INT8_MAX_AUROC_FALL
from contract.findings import FINDINGS
from training.compare import compare
from training.metrics import mean_calibration_error
from training.prepare import Cache
from training.split import SplitName
from training.table import Row

CALIBRATION_IMAGES: Final = 300
"""At most; NNCF's own default, and enough for the range of every activation."""

_FIXED: Final = ("Parameter", "Constant", "Result")


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


def quantise(bundle: Path, images: Sequence[NDArray[np.uint8]]) -> openvino.Model:
    """Quantise the SavedModel in `bundle` after training, with ranges from images uint8[S,S,1].

    Float32 stay: all before and in the first convolution, whose input has the widest range and
    whose work is small; the head with its maps, their means and the calibration; spatial means.
    Inputs and outputs are those of the SavedModel.
    """
    network = openvino.Core().read_model(bundle)
    # Folds normalisation into the convolutions before it; without, bias correction finds no bias.
    apply_moc_transformations(network, cf=True)
    with _silence():
        import nncf
        from nncf.quantization.advanced_parameters import OverflowFix
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        quantised = nncf.quantize(
            network,
            nncf.Dataset(images, lambda image: image[np.newaxis]),
            subset_size=len(images),
            target_device=nncf.TargetDevice.CPU,
            fast_bias_correction=False,
            ignored_scope=nncf.IgnoredScope(_name_float32(network), types=["ReduceMean"]),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                # Half the range for weights: processors without VNNI add products of 8 bits in 16,
                # which the whole range overflows; with half of it all give the same bits.
                overflow_fix=OverflowFix.ENABLE,
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            ),
        )
    return quantised


def write_int8(network: openvino.Model, bundle: Path) -> None:
    """Write a quantised network into a bundle, without a trace of the run that made it."""
    # The names count what the process has built so far; these are the same for the same network.
    for number, operation in enumerate(network.get_ordered_ops()):
        if operation.get_type_name() not in ("Parameter", "Result"):
            operation.set_friendly_name(f"{operation.get_type_name()}_{number}")
    for key in list(network.get_rt_info()):
        del network.get_rt_info()[key]
    (bundle / INT8).parent.mkdir()
    openvino.save_model(network, bundle / INT8, compress_to_fp16=False)


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
    labels = np.array([row.labels for row in rows])
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


def _name_float32(network: openvino.Model) -> list[str]:
    """Name all up to the first convolutions, and the last ones with all after them.

    A single network has one of each, several that answer together have one a member.
    """
    operations = [
        operation
        for operation in network.get_ordered_ops()
        if operation.get_type_name() not in _FIXED
    ]
    names = [operation.get_friendly_name() for operation in operations]
    sources = {
        name: [port.get_node().get_friendly_name() for port in operation.input_values()]
        for name, operation in zip(names, operations, strict=True)
    }
    convolutions = {
        name
        for name, operation in zip(names, operations, strict=True)
        if operation.get_type_name() == "Convolution"
    }
    after_one: set[str] = set()
    before_one: set[str] = set()
    for name in names:
        if any(source in after_one | convolutions for source in sources[name]):
            after_one.add(name)
    for name in reversed(names):
        if name in before_one | convolutions:
            before_one.update(sources[name])
    ends = {name for name in names if name in after_one and name not in before_one}
    return [name for name in names if name not in after_one or name in ends]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep NNCF from reporting to its makers over the network and from filling the terminal."""
    os.environ.setdefault("NNCF_CI", "1")
    with contextlib.redirect_stdout(io.StringIO()):
        import nncf

        nncf.set_log_level(logging.ERROR)
        yield
