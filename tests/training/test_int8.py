"""What INT8 costs: measured against float32, told, and left out where it is too much."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.bundle import INT8, INT8_MAX_AUROC_FALL, open_bundle
from contract.findings import FINDINGS
from tests.training.conftest import SmokeRun
from training.metrics import mean_calibration_error
from training.table import Row


def test_bundle_says_what_int8_costs_and_holds_it_where_that_is_little(smoke: SmokeRun) -> None:
    bundle = open_bundle(smoke.bundle)
    said = bundle.description["int8"]
    assert said["kept"] == (said["macro_auroc_change"] >= -INT8_MAX_AUROC_FALL)
    assert said["kept"] == (bundle.int8 is not None) == (bundle.preferred_precision == "int8")
    assert said["calibration_images"] == len(smoke.data.split.validation)
    assert set(said["measured"]) == {"validation", "test"}
    assert set(said["versions"]) == {"nncf", "openvino"}
    low, high = said["macro_auroc_change_ci"]
    assert low <= high
    # Too few drawn patients are in test.
    assert said["measured"]["test"]["macro_auroc_change_ci"] is None
    assert (bundle.golden().int8_probabilities is not None) == said["kept"]


def test_what_int8_costs_is_counted_in_int8_and_against_float32() -> None:
    """One of ten positives falls below its threshold, and below all negatives."""
    from training.int8 import _compare

    labels = np.zeros((20, 14), int)
    labels[10:, 2] = 1
    rows = [Row(str(n), str(n), tuple(one.tolist())) for n, one in enumerate(labels)]
    float32 = np.where(labels == 1, 0.9, 0.1).astype(np.float32)
    int8 = float32.copy()
    int8[10, 2] = 0.05
    said = _compare(rows, float32, int8, np.full(14, 0.5), 20, 1)
    assert said["macro_auroc"] == pytest.approx(0.9)
    assert said["macro_auroc_change"] == pytest.approx(-0.1)
    assert said["ece"] == pytest.approx(mean_calibration_error(labels, int8))
    assert said["ece_float32"] == pytest.approx(mean_calibration_error(labels, float32))
    assert said["largest_probability_difference"] == pytest.approx(0.85)
    assert said["mean_probability_difference"] == pytest.approx(0.85 / 280)
    assert said["calls_turned_over"] == 1


def make_one_channel_loud(network: Any, times: float) -> None:
    """Let one channel inside each residual block speak `times` louder, and the next hear it so.

    In float32 every answer stays as it was. The 256 levels that INT8 has for all channels together
    are then spread over that one, and nothing is left of the others.
    """
    for layer in network.layers:
        if not layer.name.endswith("_a_norm"):
            continue
        for weight in (layer.gamma, layer.beta):
            values = np.array(weight)
            values[0] *= times
            weight.assign(values)
        following = network.get_layer(layer.name.replace("_a_norm", "_b_conv"))
        kernel = np.array(following.kernel)
        kernel[:, :, 0] /= times
        following.kernel.assign(kernel)


@pytest.fixture(scope="module")
def apart(smoke: SmokeRun) -> list[Row]:
    """The ten rows that float32 holds least and the ten that it holds most for effusion."""
    return told_apart(smoke, 10)


def told_apart(smoke: SmokeRun, count: int) -> list[Row]:
    """Return rows with and without effusion, as labels say that float32 tells apart perfectly."""
    from training.int8 import predict

    rows = smoke.data.split.train
    places = [smoke.cache.index[row.image] for row in rows]
    effusion = FINDINGS.index("Effusion")
    order = predict(smoke.bundle, smoke.cache.pixels[places])[:, effusion].argsort()
    return [
        dataclasses.replace(rows[n], labels=tuple(int(f == effusion and high) for f in range(14)))
        for high, numbers in ((False, order[:count]), (True, order[-count:]))
        for n in numbers
    ]


def test_network_that_int8_ruins_is_left_out_and_its_description_says_how_bad_it_was(
    smoke: SmokeRun, tmp_path: Path
) -> None:
    from training.export import write_saved_model
    from training.fit import load_best
    from training.int8 import add_int8, predict
    from training.network import build_calibrated

    network = load_best(smoke.config, smoke.run)
    make_one_channel_loud(network, times=1e4)
    scalings = json.loads((smoke.run / "calibration.json").read_text())["findings"]
    slopes, intercepts = (np.array([s[key] for s in scalings]) for key in ("slope", "intercept"))
    bundle = tmp_path / "1"
    write_saved_model(build_calibrated(network, slopes, intercepts), bundle)
    images = np.array(smoke.cache.pixels)[:20]
    np.testing.assert_allclose(predict(bundle, images), predict(smoke.bundle, images), atol=1e-3)
    rows = told_apart(smoke, len(smoke.data.split.train) // 2)
    said = add_int8(bundle, {"validation": rows}, smoke.cache, [0.5] * 14, resamples=50, seed=1)
    low, high = said["macro_auroc_change_ci"]
    assert said["macro_auroc_change"] < -INT8_MAX_AUROC_FALL
    assert low <= high < -INT8_MAX_AUROC_FALL
    assert not said["kept"]
    assert not (bundle / INT8).exists()


def test_network_that_ranks_as_before_in_int8_is_kept(
    smoke: SmokeRun, apart: list[Row], tmp_path: Path
) -> None:
    from training.int8 import add_int8

    bundle = tmp_path / "1"
    shutil.copytree(smoke.bundle, bundle, ignore=shutil.ignore_patterns("openvino"))
    said = add_int8(bundle, {"validation": apart}, smoke.cache, [0.5] * 14, resamples=50, seed=1)
    assert (said["macro_auroc_change"], said["macro_auroc_change_ci"]) == (0.0, [0.0, 0.0])
    assert said["kept"]
    assert (bundle / INT8).exists()
