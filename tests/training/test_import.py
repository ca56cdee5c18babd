"""`training import` from a file of weights to an answer of the service."""

import hashlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import pytest
from PIL import Image

from contract.bundle import CARD, open_bundle
from contract.findings import FINDINGS
from contract.pixels import to_model_input
from contract.radiograph import read
from tests.training.test_published import values_of, write_torch
from training.config import config_from_dict
from training.data import read_folder
from training.phantom import draw_phantom, write_drawn_folder

ROOT = Path(__file__).parents[2]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "training", "import", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights in the form of TorchXRayVision that answer to the pixels, though senselessly."""
    rng = np.random.default_rng(6)
    values = values_of("torchxrayvision")
    for key, value in values.items():
        if value.ndim > 1:
            values[key] = rng.normal(0, np.sqrt(2 / value[0].size), value.shape).astype(np.float32)
        elif key.endswith(("running_var", "weight")):
            value[:] = 1e6 if key == "features.norm0.running_var" else 1
    return write_torch(tmp_path_factory.mktemp("weights") / "secret-name.pt", values)


@pytest.fixture(scope="module")
def bundle(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("import")
    write_drawn_folder(work / "data", patients=16, seed=2)
    out = work / "models" / "brought"
    options = ["--cache", work / "cache", "--run", work / "run", "--set", "bootstrap_resamples=20"]
    kind = ["--kind", "torchxrayvision"]
    done = run(weights, *kind, "--data", work / "data", "--out", out, *options)
    assert done.returncode == 0, done.stderr
    assert "the figures above are optimistic" in done.stdout
    assert re.search(r"exported .*brought/1, in float32 (and|only: INT8)", done.stdout)
    return out / "1"


def test_imported_bundle_says_where_its_weights_come_from(weights: Path, bundle: Path) -> None:
    description = open_bundle(bundle).description
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert description["weights"]["kind"] == "torchxrayvision"
    assert description["weights"]["sha256"] == digest
    assert description["training_data"]["dataset"] == description["weights"]["trained_on"]
    assert description["training_data"]["images"] is None
    assert description["judged_on"]["dataset"] == "data"
    assert "Weights of others" in description["intended_use"]
    assert "learning_rate" not in description["recipe"]
    assert weights.stem not in json.dumps(description)


def test_card_of_an_import_does_not_say_that_training_never_saw_its_test_images(
    bundle: Path,
) -> None:
    card = (bundle / "assets.extra" / "card.md").read_text()
    assert "may be among them; then the test is optimistic" in card
    assert "never saw" not in card


def test_imported_bundle_is_calibrated_and_tested_here(bundle: Path) -> None:
    findings = {f["name"]: f for f in open_bundle(bundle).description["findings"]}
    assert tuple(findings) == FINDINGS
    assert findings["Effusion"]["auroc"] is not None
    assert findings["Effusion"]["split"] == "test"


def test_imported_bundle_is_quantised_and_judged_in_int8_too(bundle: Path) -> None:
    opened = open_bundle(bundle)
    said = opened.description["int8"]
    assert said["kept"] == (opened.int8 is not None)
    assert said["measured"]["test"]["images"] == opened.description["judged_on"]["test"]["images"]
    assert "Quantised after training" in (bundle / CARD).read_text()


def test_service_answers_with_an_imported_bundle(
    bundle: Path, start_service: Callable[..., object]
) -> None:
    file = io.BytesIO()
    Image.fromarray(draw_phantom(3)).save(file, "PNG")
    # In float32, as whether INT8 is kept of senseless weights is chance.
    given = {"XPRO_MODEL_DIR": str(bundle), "XPRO_PRECISION": "float32"}
    with start_service(**given) as service:
        answer = service.predict(file.getvalue())
    assert answer.status_code == 200
    core = openvino.Core()
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    network = core.compile_model(core.read_model(bundle), "CPU", hint)
    pixels = to_model_input(read(file.getvalue()), 224)[np.newaxis]
    expected = network({"image": pixels})["probabilities"][0]
    assert [*answer.json()["probabilities"].values()] == pytest.approx(expected, abs=1e-4)


def test_recipe_of_an_imported_bundle_splits_the_data_again(bundle: Path) -> None:
    description = open_bundle(bundle).description
    config = config_from_dict(description["recipe"])
    assert (config.input_size, config.pixel_scaling) == (224, "torchxrayvision")
    split = read_folder(bundle.parents[2] / "data", config).split
    assert split.sha256() == description["training_data"]["split_sha256"]


def test_refused_file_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"no weights")
    out = tmp_path / "models" / "m"
    options = ["--data", "drawn", "--out", out, "--run", tmp_path / "run"]
    done = run(tmp_path / "w", "--kind", "arnoweng", *options)
    assert done.returncode == 1
    assert done.stderr == "error: This is no file that torch.save wrote.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_run_folder_that_is_there_is_refused_before_the_file_is_read(tmp_path: Path) -> None:
    places = ["--data", tmp_path, "--out", tmp_path / "out", "--run", tmp_path]
    done = run(tmp_path / "none.pt", "--kind", "arnoweng", *places)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path} is there already: choose another folder")


def test_field_that_an_import_has_no_use_for_is_refused(tmp_path: Path) -> None:
    options = ["--data", "drawn", "--out", tmp_path / "m", "--set", "epochs=3"]
    done = run(tmp_path / "w", "--kind", "arnoweng", *options)
    assert done.returncode == 1
    assert "an import can set" in done.stderr
