"""Two engines, the same answers."""

import shutil
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest

from contract.bundle import GOLDEN, find_bundle, open_bundle, seal_bundle
from contract.pixels import to_model_input
from contract.radiograph import read
from contract.seal import BundleError
from service.engine import PROBABILITY_TOLERANCE, replay_golden
from service.engine.openvino import OpenVinoEngine
from service.settings import Settings
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(find_bundle(Settings().model_dir))


@pytest.fixture(scope="module")
def openvino(bundle):
    return OpenVinoEngine(bundle, streams=2, precision="float32")


@pytest.fixture(scope="module")
def tensorflow(bundle):
    from service.engine.tensorflow import TensorFlowEngine

    return TensorFlowEngine(bundle)


def test_both_engines_give_the_same_probabilities_for_every_nih_file(
    requests_folder, bundle, openvino, tensorflow
):
    files = sorted((requests_folder / "nih").iterdir())
    worst = 0.0
    for file in files:
        image = to_model_input(read(file.read_bytes()), bundle.input_size)
        one, other = openvino.infer(image), tensorflow.infer(image)
        worst = max(worst, float(np.abs(one.probabilities - other.probabilities).max()))
        np.testing.assert_allclose(one.activation_maps, other.activation_maps, atol=5e-3)
    print(f"largest difference of a probability over {len(files)} files: {worst:.1e}")
    assert len(files) == 35
    assert worst <= PROBABILITY_TOLERANCE["float32"]


def test_the_answer_does_not_depend_on_the_number_of_streams(bundle, openvino):
    image = bundle.golden().image[0]
    alone = OpenVinoEngine(bundle, streams=1, precision="float32").infer(image)
    assert np.array_equal(alone.probabilities, openvino.infer(image).probabilities)


def test_an_answer_stays_as_it_was_when_its_stream_answers_the_next_image(bundle, openvino):
    images = bundle.golden().image
    first = openvino.infer(images[0])
    kept = [output.copy() for output in first]
    openvino.infer(images[1])
    assert all(np.array_equal(*pair) for pair in zip(first, kept, strict=True))


def test_an_image_of_another_shape_or_kind_is_refused_and_not_made_to_fit(bundle, openvino):
    image = bundle.golden().image[0]
    for wrong in (image[:1], image[:, :1], image[:1, :1], image.astype(np.float32)):
        with pytest.raises(ValueError, match="instead of uint8"):
            openvino.infer(wrong)
    assert openvino.infer(image).probabilities.shape == (14,)


@pytest.mark.parametrize(
    ("precision", "change", "refused"),
    [
        ("float32", 5e-5, False),
        ("float32", 2e-4, True),
        ("float32", np.nan, True),
        ("int8", 0.005, False),
        ("int8", 0.012, True),
        ("int8", np.nan, True),
    ],
)
def test_golden_outputs_may_differ_by_the_tolerance_of_their_precision_and_no_more(
    bundle, tmp_path, precision, change, refused
):
    changed = shutil.copytree(bundle.path, tmp_path / "1")
    with np.load(changed / GOLDEN) as arrays:
        golden = dict(arrays)
    golden["probabilities" if precision == "float32" else "int8_probabilities"][1, 3] += change
    np.savez(changed / GOLDEN, **golden)
    seal_bundle(changed, bundle.description)
    with pytest.raises(BundleError, match="2: Hernia") if refused else nullcontext():
        replay_golden(OpenVinoEngine(bundle, 1, precision), open_bundle(changed))


def test_with_openvino_the_service_never_imports_tensorflow_or_keras():
    program = (
        "import sys; from service.app import create_app; from service.model import load_model; "
        "from service.settings import Settings; s = Settings(); create_app(s, load_model(s)); "
        "print([m for m in ('tensorflow', 'keras', 'training') if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "[]"


def test_the_service_answers_with_the_tensorflow_engine_too(start_service, png):
    with (
        start_service(XPRO_ENGINE="tensorflow") as other,
        start_service(XPRO_PRECISION="float32") as service,
    ):
        assert "tensorflow" in other.client.get("/health").json()["checks"]["model"]["detail"]
        given = other.predict(png).json()["probabilities"]
        expected = service.predict(png).json()["probabilities"]
    assert given == pytest.approx(expected, abs=PROBABILITY_TOLERANCE["float32"])
