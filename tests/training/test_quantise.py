"""INT8 after training: real quantisation of the network of the smoke run."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13

from contract.bundle import GOLDEN, INT8, INT8_MAX_AUROC_FALL, open_bundle
from contract.findings import FINDINGS
from tests.training.conftest import SmokeRun
from tests.training.test_int8_replay import ALLOWED, differ_between_processors
from training.errors import DataError
from training.metrics import mean_calibration_error
from training.table import Row

WEIGHTS = INT8.replace(".xml", ".bin")


@pytest.fixture(scope="module")
def images(smoke: SmokeRun) -> np.ndarray:
    return np.array(smoke.cache.pixels)


@pytest.fixture(scope="module")
def quantised(smoke: SmokeRun, images: np.ndarray, tmp_path_factory: Any) -> Path:
    """A copy of the smoke bundle with an INT8 network whether or not it was good enough."""
    from training.quantise import quantise, write_int8

    bundle = tmp_path_factory.mktemp("quantised") / "1"
    shutil.copytree(smoke.bundle, bundle, ignore=shutil.ignore_patterns("openvino"))
    write_int8(quantise(bundle, images[:20]), bundle)
    return bundle


def test_int8_network_has_the_inputs_and_outputs_of_the_savedmodel(
    smoke: SmokeRun, quantised: Path
) -> None:
    def ports(path: Path) -> set[tuple[str, str, str]]:
        network = openvino.Core().read_model(path)
        return {
            (port.any_name, str(port.partial_shape), str(port.element_type))
            for port in network.inputs + network.outputs
        }

    assert ports(quantised / INT8) == ports(smoke.bundle)


def find_integers(network: openvino.Model) -> list[bool]:
    """Whether each convolution has its weights in INT8, in the order of the work."""
    integers = []
    for operation in network.get_ordered_ops():
        if operation.get_type_name() == "Convolution":
            weights = operation.input_value(1).get_node()
            while weights.get_type_name() != "Constant":
                weights = weights.input_value(0).get_node()
            integers.append(weights.get_element_type() == openvino.Type.i8)
    return integers


def test_int8_network_computes_in_int8_but_for_the_first_convolution_and_the_head(
    quantised: Path,
) -> None:
    """This one's first convolution sees an image normed by itself, and its local contrast."""
    integers = find_integers(openvino.Core().read_model(quantised / INT8))
    assert len(integers) > 5
    assert integers == [False] + [True] * (len(integers) - 2) + [False]


def three_convolutions(sees: str) -> openvino.Model:
    """A small network on grey in one scale, in a scale for each colour, or normed by the image."""
    from training.backbones import GREY_MEAN, GREY_STD, IMAGENET_MEAN, IMAGENET_STD

    draw = np.random.default_rng(3).normal
    image = opset13.parameter([1, 16, 16, 1], np.uint8, name="image")
    image.output(0).set_names({"image"})
    x = opset13.reshape(opset13.convert(image, np.float32), np.array([1, 1, 16, 16]), False)
    if sees == "normed":
        x = opset13.mvn(x, [2, 3], True, 1e-6, "inside_sqrt")
    else:
        spread = [GREY_STD] if sees == "grey" else IMAGENET_STD
        middle = [GREY_MEAN] if sees == "grey" else IMAGENET_MEAN
        scale, offset = 1 / (255 * np.array(spread)), -np.array(middle) / spread
        x = opset13.concat([x] * 3, 1) if sees == "rgb" else x
        shape = (1, -1, 1, 1)
        x = opset13.multiply(x, opset13.constant(scale.reshape(shape).astype(np.float32)))
        x = opset13.add(x, opset13.constant(offset.reshape(shape).astype(np.float32)))
    for out in (8, 8, 14):
        weights = draw(size=(out, x.get_output_shape(0)[1], 3, 3)).astype(np.float32)
        convolved = opset13.convolution(
            x, opset13.constant(weights), [1, 1], [1, 1], [1, 1], [1, 1]
        )
        x = opset13.relu(convolved)
    return openvino.Model([opset13.reduce_mean(x, [2, 3])], [image], "three_convolutions")


@pytest.mark.parametrize(("sees", "in_int8"), [("grey", True), ("rgb", False), ("normed", False)])
def test_first_convolution_is_in_int8_where_it_sees_one_channel_of_grey_levels(
    sees: str, in_int8: bool, tmp_path: Path
) -> None:
    from training.quantise import quantise

    openvino.save_model(three_convolutions(sees), tmp_path / "network.xml")
    images = np.random.default_rng(4).integers(0, 256, (4, 16, 16, 1)).astype(np.uint8)
    network = quantise(tmp_path / "network.xml", images)
    assert find_integers(network) == [in_int8, True, False]


def test_int8_keeps_most_grey_levels_apart_in_the_scale_of_densenet121(tmp_path: Path) -> None:
    from training.quantise import quantise

    openvino.save_model(three_convolutions("grey"), tmp_path / "network.xml")
    greys = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    network = quantise(tmp_path / "network.xml", greys)
    first = next(op for op in network.get_ordered_ops() if op.get_type_name() == "FakeQuantize")
    seen = openvino.Model([first.output(0)], network.get_parameters(), "seen")
    assert len(np.unique(openvino.compile_model(seen, "CPU")([greys])[0])) >= 231


def test_int8_answers_stay_near_those_of_float32(
    smoke: SmokeRun, quantised: Path, images: np.ndarray
) -> None:
    from training.int8 import predict

    difference = np.abs(predict(smoke.bundle, images) - predict(quantised / INT8, images))
    assert 0 < difference.max() < 0.1
    assert difference.mean() < 0.01


def test_int8_network_is_smaller_and_says_nothing_of_the_machine_that_made_it(
    quantised: Path,
) -> None:
    text = (quantised / INT8).read_text()
    assert str(quantised.parent) not in text
    assert str(Path.cwd()) not in text
    assert "nncf" not in text
    float32 = (quantised / "variables" / "variables.data-00000-of-00001").stat().st_size
    assert (quantised / WEIGHTS).stat().st_size < float32 / 2


def test_quantising_again_gives_the_same_files(quantised: Path, images: np.ndarray) -> None:
    from training.quantise import quantise, write_int8

    before = [(quantised / name).read_bytes() for name in (INT8, WEIGHTS)]
    network = quantise(quantised, images[:20])
    shutil.rmtree(quantised / "openvino")
    write_int8(network, quantised)
    assert [(quantised / name).read_bytes() for name in (INT8, WEIGHTS)] == before


def test_processors_without_vnni_answer_as_those_with_it(
    quantised: Path, images: np.ndarray, tmp_path: Path
) -> None:
    differences = differ_between_processors(quantised / INT8, images[:40], tmp_path)
    assert max(differences.values()) <= ALLOWED


def convolve_then_average(kernel: int, *, heard_twice: bool = False) -> openvino.Model:
    """A convolution whose result is averaged 2 x 2, with `heard_twice` also added up as it is."""
    weights = np.random.default_rng(1).normal(size=(4, 6, kernel, kernel)).astype(np.float32)
    image = opset13.parameter([1, 6, 8, 8], name="image")
    none = [kernel // 2] * 2
    convolved = opset13.convolution(image, opset13.constant(weights), [1, 1], none, none, [1, 1])
    averaged = opset13.avg_pool(convolved, [2, 2], [0, 0], [0, 0], [2, 2], exclude_pad=True)
    outputs = [opset13.relu(averaged)]
    if heard_twice:
        outputs.append(opset13.reduce_sum(convolved, [2, 3]))
    return openvino.Model(outputs, [image], "convolve_then_average")


def answer(network: openvino.Model) -> list[np.ndarray]:
    image = np.random.default_rng(2).normal(size=(1, 6, 8, 8)).astype(np.float32)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    return list(openvino.compile_model(network, "CPU", exact)([image]).values())


def work(network: openvino.Model) -> list[str]:
    kinds = [operation.get_type_name() for operation in network.get_ordered_ops()]
    return [kind for kind in kinds if kind in ("Convolution", "AvgPool")]


def test_averages_go_before_pointwise_convolutions_and_change_no_answer() -> None:
    from training.quantise import average_first

    network = convolve_then_average(kernel=1)
    expected = answer(network)
    average_first(network)
    assert work(network) == ["AvgPool", "Convolution"]
    np.testing.assert_allclose(answer(network), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kernel", "heard_twice"), [(3, False), (1, True)])
def test_averages_stay_behind_convolutions_of_neighbours_and_those_heard_elsewhere(
    kernel: int, heard_twice: bool
) -> None:
    from training.quantise import average_first

    network = convolve_then_average(kernel, heard_twice=heard_twice)
    expected = answer(network)
    average_first(network)
    assert work(network) == ["Convolution", "AvgPool"]
    for now, before in zip(answer(network), expected, strict=True):
        np.testing.assert_array_equal(now, before)


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


def test_golden_examples_hold_what_each_network_answered(quantised: Path) -> None:
    from training.export import write_golden

    shutil.rmtree(quantised / "assets.extra")
    write_golden(quantised, 64)
    with np.load(quantised / GOLDEN) as arrays:
        difference = np.abs(arrays["int8_probabilities"] - arrays["probabilities"])
    assert 0 < difference.max() < 0.1


def test_export_without_data_is_in_float32_only(smoke: SmokeRun, tmp_path: Path) -> None:
    from training.export import export_bundle

    bundle = open_bundle(export_bundle(smoke.run, tmp_path / "model"))
    assert bundle.int8 is None
    assert bundle.preferred_precision == "float32"
    assert "float32 only" in (bundle.path / "assets.extra" / "card.md").read_text()


def test_export_with_other_data_than_the_run_is_refused(smoke: SmokeRun, tmp_path: Path) -> None:
    from training.export import export_bundle

    split = dataclasses.replace(smoke.data.split, test=smoke.data.split.test[1:])
    other = dataclasses.replace(smoke.data, split=split)
    with pytest.raises(DataError, match="another split than the run"):
        export_bundle(smoke.run, tmp_path / "model", other, smoke.cache)
    assert not (tmp_path / "model").exists()


def test_card_holds_every_figure_that_a_reader_needs(smoke: SmokeRun) -> None:
    card = (smoke.bundle / "assets.extra" / "card.md").read_text()
    said = open_bundle(smoke.bundle).description
    report = json.loads((smoke.run / "report.json").read_text())["test"]
    assert said["intended_use"] in card
    for finding in said["findings"]:
        assert f"| {finding['name']} |" in card
        assert f"{finding['threshold']:.3f}" in card
    assert f"{report['macro_auroc']:.3f}" in card
    assert f"{report['ece']:.3f} on test" in card
    assert f"{said['calibration']['cross_validation']['ece']:.3f}; perfect" in card
    assert "only 0 of one class" in card
    assert f"{said['int8']['macro_auroc_change']:+.4f}" in card
    low, high = said["int8"]["macro_auroc_change_ci"]
    assert f"(95 % interval {low:+.4f} to {high:+.4f})" in card
    assert len(card.split()) < 900
