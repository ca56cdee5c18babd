"""The whole chain on Keras' other backend, as on a machine whose accelerator has no TensorFlow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from contract.bundle import open_bundle
from training.config import read_config
from training.data import read_folder
from training.predictions import read_predictions
from training.prepare import prepare_images

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def work(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cache, run and model, fitted on JAX."""
    work = tmp_path_factory.mktemp("jax")
    options = ["--data", drawn_folder, "--cache", work / "cache", "--run", work / "run"]
    command = ["train", *options, "--out", work / "model", "--profile", "smoke"]
    done = subprocess.run(
        [sys.executable, "-m", "training", *map(str, command), "--set", "epochs=2"],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return work


def test_a_fit_on_jax_ends_in_a_bundle_and_its_run_says_so(work: Path) -> None:
    assert open_bundle(work / "model" / "1").name == "model"
    record = json.loads((work / "run" / "run.json").read_text())
    assert record["backend"] == "jax"


def test_the_savedmodel_answers_what_jax_answered(work: Path, drawn_folder: Path) -> None:
    from training.int8 import predict

    config = read_config("smoke")
    files = read_folder(drawn_folder, config).files
    cache = prepare_images(files, config.input_size, work / "cache")
    answered = read_predictions(work / "run" / "predictions.csv")
    answers = predict(work / "model" / "1", cache.pixels)
    assert len(answered) > 20
    for image, expected in answered.items():
        np.testing.assert_allclose(answers[cache.index[image]], expected, atol=1e-5)
