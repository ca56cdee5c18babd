"""INT8 by default where the bundle has it, float32 on demand, and who says which answered."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from contract.bundle import GOLDEN, find_bundle, open_bundle, seal_bundle
from contract.findings import FINDINGS
from contract.pixels import to_model_input
from contract.radiograph import Radiograph, read
from contract.seal import DESCRIPTION, BundleError
from service.engine import open_engine, replay_golden
from service.engine.openvino import OpenVinoEngine
from service.settings import Settings
from tests.service.test_startup import start
from training.phantom import DRAWN_FINDINGS, draw_phantom


@pytest.fixture(scope="module")
def drawn():
    """24 drawn radiographs at the size of the bundled model."""
    size = open_bundle(find_bundle(Settings().model_dir)).input_size
    pixels = [draw_phantom(seed, DRAWN_FINDINGS[: seed % 5]) for seed in range(24)]
    return [to_model_input(Radiograph(each, "PNG", 8), size) for each in pixels]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, drawn):
    """The bundled network quantised anew on drawn radiographs, sealed as if judged harmless."""
    from training.export import write_golden
    from training.quantise import quantise, write_int8

    target = tmp_path_factory.mktemp("int8") / "model" / "1"
    unwanted = shutil.ignore_patterns("openvino", "golden.npz")
    shutil.copytree(find_bundle(Settings().model_dir), target, ignore=unwanted)
    write_int8(quantise(target, drawn), target)
    description = json.loads((target / DESCRIPTION).read_text())
    shutil.rmtree(target / "assets.extra")
    write_golden(target, description["input_size"])
    seal_bundle(target, {**description, "int8": {"kept": True, "macro_auroc_change": 0.0}})
    return open_bundle(target)


@pytest.fixture(scope="module")
def served(start_service, bundle):
    with start_service(XPRO_MODEL_DIR=str(bundle.path)) as running:
        yield running


def test_int8_answers_by_default_and_every_surface_says_so(served, bundle, png):
    answer = served.predict(png).json()["model"]
    assert (answer["precision"], answer["digest"]) == ("int8", bundle.digest)
    assert served.client.get("/model").json() == {**bundle.description, "precision": "int8"}
    assert "in int8" in served.client.get("/health").json()["checks"]["model"]["detail"]
    ready = [json.loads(line) for line in served.log().splitlines() if '"ready"' in line]
    assert ready[0]["precision"] == "int8"


def test_float32_answers_where_it_is_asked_for(start_service, served, bundle, png):
    with start_service(XPRO_MODEL_DIR=str(bundle.path), XPRO_PRECISION="float32") as other:
        answer = other.predict(png).json()
    assert answer["model"]["precision"] == "float32"
    image = to_model_input(read(png), bundle.input_size)
    expected = OpenVinoEngine(bundle, streams=1, precision="float32").infer(image).probabilities
    assert list(answer["probabilities"].values()) == [float(str(each)) for each in expected]
    assert answer["probabilities"] != served.predict(png).json()["probabilities"]


def test_int8_gives_the_same_bits_again_side_by_side_and_after_a_restart(
    start_service, served, bundle, png, jpeg
):
    def answer(data, service=served):
        return service.predict(data).json()["probabilities"]

    alone = {data: answer(data) for data in (png, jpeg)}
    with ThreadPoolExecutor(8) as clients:
        for data, given in zip(
            (png, jpeg) * 12, clients.map(answer, (png, jpeg) * 12), strict=True
        ):
            assert given == alone[data]
    with start_service(XPRO_MODEL_DIR=str(bundle.path), XPRO_STREAMS="1") as restarted:
        assert {data: answer(data, restarted) for data in (png, jpeg)} == alone


def test_tensorflow_answers_in_float32_whatever_the_bundle_holds(bundle):
    assert open_engine(Settings(engine="tensorflow"), bundle).precision == "float32"


def test_int8_of_tensorflow_is_a_wrong_setting():
    ended = start(XPRO_ENGINE="tensorflow", XPRO_PRECISION="int8")
    assert ended.returncode == 2
    assert "XPRO_PRECISION" in ended.stderr
    assert "float32 only" in ended.stderr


def test_int8_of_a_bundle_without_it_is_refused_with_what_to_do(bundle, tmp_path):
    without = shutil.copytree(bundle.path, tmp_path / "1")
    shutil.rmtree(without / "openvino")
    seal_bundle(without, bundle.description)
    opened = open_bundle(without)
    assert open_engine(Settings(), opened).precision == "float32"
    with pytest.raises(BundleError, match=r"XPRO_PRECISION is int8, but .* say float32"):
        open_engine(Settings(precision="int8"), opened)


@pytest.mark.parametrize("change", [-0.0021, None])
def test_int8_that_lost_too_much_or_was_not_judged_answers_only_where_it_is_asked_for(
    bundle, tmp_path, change
):
    doubtful = shutil.copytree(bundle.path, tmp_path / "1")
    seal_bundle(doubtful, {**bundle.description, "int8": {"macro_auroc_change": change}})
    opened = open_bundle(doubtful)
    assert open_engine(Settings(), opened).precision == "float32"
    assert open_engine(Settings(precision="int8"), opened).precision == "int8"


def test_golden_replay_covers_each_precision_by_itself(bundle, tmp_path):
    damaged = shutil.copytree(bundle.path, tmp_path / "1")
    with np.load(damaged / GOLDEN) as arrays:
        changed = dict(arrays)
    changed["int8_probabilities"][1, 3] += 0.02
    np.savez(damaged / GOLDEN, **changed)
    seal_bundle(damaged, bundle.description)
    opened = open_bundle(damaged)
    replay_golden(OpenVinoEngine(opened, 1, "float32"), opened)
    with pytest.raises(BundleError, match=f"2: {FINDINGS[3]} .* in int8; .*XPRO_PRECISION=float32"):
        replay_golden(OpenVinoEngine(opened, 1, "int8"), opened)


def test_int8_of_the_bundled_model_differs_on_nih_files_by_no_more_than_it_says(requests_folder):
    bundle = open_bundle(find_bundle(Settings().model_dir))
    if bundle.int8 is None:
        pytest.skip("the bundled model holds no INT8 network")
    engines = [OpenVinoEngine(bundle, 1, precision) for precision in ("float32", "int8")]
    files = sorted((requests_folder / "nih").iterdir())
    images = [to_model_input(read(file.read_bytes()), bundle.input_size) for file in files]
    float32, int8 = (
        np.stack([engine.infer(image).probabilities for image in images]) for engine in engines
    )
    difference = np.abs(float32 - int8)
    thresholds = np.array(bundle.thresholds)
    turned = int(((float32 >= thresholds) != (int8 >= thresholds)).sum())
    print(
        f"{len(files)} files: largest difference {difference.max():.4f}, mean "
        f"{difference.mean():.4f}, {turned} of {difference.size} calls turned over"
    )
    said = bundle.description["int8"]["measured"].values()
    assert difference.max() <= max(each["largest_probability_difference"] for each in said)
    assert difference.mean() <= 2 * max(each["mean_probability_difference"] for each in said)
    expected = max(each["calls_turned_over"] / (14 * each["images"]) for each in said)
    assert turned <= 2 * expected * difference.size + 5
