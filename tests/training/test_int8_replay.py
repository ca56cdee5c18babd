"""How far INT8 answers of the bundled model may differ elsewhere from what the exporter saw."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest

from contract.bundle import Bundle, find_bundle, open_bundle
from contract.pixels import to_model_input
from contract.radiograph import Radiograph, read
from service.engine import PROBABILITY_TOLERANCE
from training.int8 import predict
from training.phantom import draw_phantom

BUNDLED = Path(__file__).parents[2] / "models" / "xpro-demo"
ALLOWED = PROBABILITY_TOLERANCE["int8"]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    bundle = open_bundle(find_bundle(BUNDLED))
    if bundle.int8 is None:
        pytest.skip("the bundled model holds no INT8 network")
    return bundle


RUN = """
import sys, numpy, openvino
core = openvino.Core()
network = core.read_model(sys.argv[1])
images = numpy.load(sys.argv[2])
network.reshape([1, *images.shape[1:]])
run = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
numpy.save(sys.argv[3], numpy.stack([run(image[None])["probabilities"] for image in images]))
"""


def differ_between_processors(network: Path, images: np.ndarray, work: Path) -> dict[str, float]:
    """Return by how much an answer differs at most from that of the newest instructions."""
    np.save(work / "images.npy", images)
    answers = {}
    # oneDNN can be held to older instructions; on a processor that has no others all are the same.
    # AVX has none for integers: OpenVINO's own code computes, and sums float32 in another order.
    for instructions in ("ALL", "AVX512_CORE", "AVX2", "AVX"):
        found = work / f"{instructions}.npy"
        paths = [str(path) for path in (network, work / "images.npy", found)]
        environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": instructions}
        subprocess.run([sys.executable, "-c", RUN, *paths], env=environment, check=True)
        answers[instructions] = np.load(found)
    differences = {
        name: float(np.abs(answer - answers["ALL"]).max()) for name, answer in answers.items()
    }
    said = ", ".join(f"{name} {largest:.2g}" for name, largest in differences.items())
    print(f"{len(images)} images: probabilities differ by at most {said}")
    return differences


def test_bundled_model_answers_on_older_processors_within_what_golden_replay_allows(
    bundle: Bundle, tmp_path: Path
) -> None:
    assert bundle.int8
    drawn = [Radiograph(draw_phantom(seed), "PNG", 8) for seed in range(10, 20)]
    images = [to_model_input(one, bundle.input_size) for one in drawn]
    images = np.concatenate([bundle.golden().image, np.stack(images)])
    differences = differ_between_processors(bundle.int8, images, tmp_path)
    assert max(differences.values()) <= ALLOWED


def change_last_bits(network: openvino.Model, rng: np.random.Generator) -> None:
    """Change each float32 weight of a convolution by about 3e-7 of itself, two last bits."""
    for operation in network.get_ordered_ops():
        if operation.get_type_name() != "Convolution":
            continue
        weights = operation.input_value(1).get_node()
        if weights.get_type_name() == "Constant":
            noise = rng.normal(1, 3e-7, weights.data.shape)
            changed = openvino.opset13.constant((weights.data * noise).astype(np.float32))
            operation.input(1).replace_source_output(changed.output(0))


def test_last_bits_move_answers_of_the_bundled_model_less_than_golden_replay_allows(
    bundle: Bundle, xrays: Path, rng: np.random.Generator
) -> None:
    files = sorted((xrays / "images").iterdir())[::18]
    images = [to_model_input(read(file.read_bytes()), bundle.input_size) for file in files]
    network = openvino.Core().read_model(bundle.int8)
    before = predict(network, images)
    change_last_bits(network, rng)
    difference = np.abs(predict(network, images) - before)
    print(
        f"{difference.size} answers: {difference.max():.2g} at most, mean {difference.mean():.2g}"
    )
    assert 0 < difference.max() <= ALLOWED
