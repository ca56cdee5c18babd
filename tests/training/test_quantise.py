"""INT8 after training: real quantisation of the network of the smoke run."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13

from contract.bundle import GOLDEN, INT8
from tests.training.conftest import SmokeRun
from tests.training.test_int8_replay import ALLOWED, differ_between_processors

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


def test_golden_examples_hold_what_each_network_answered(quantised: Path) -> None:
    from training.export import write_golden

    shutil.rmtree(quantised / "assets.extra")
    write_golden(quantised, 64)
    with np.load(quantised / GOLDEN) as arrays:
        difference = np.abs(arrays["int8_probabilities"] - arrays["probabilities"])
    assert 0 < difference.max() < 0.1
