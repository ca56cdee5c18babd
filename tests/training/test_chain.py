import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest

from contract.bundle import find_bundle, open_bundle
from contract.findings import FINDINGS
from contract.seal import BundleError
from tests.training.conftest import SmokeRun
from training.disk import lock_folder
from training.errors import DataError, RunError
from training.phantom import draw_phantom
from training.record import CHANGES, read_changes, read_commit

OUTPUTS = {"probabilities", "logits", "activation_maps", "embedding"}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.stack([draw_phantom(seed)[::4, ::4, None] for seed in range(5)])


@pytest.fixture(scope="module")
def by_tensorflow(smoke: SmokeRun, images: np.ndarray) -> dict[str, Any]:
    import tensorflow as tf

    serve = tf.saved_model.load(str(smoke.bundle)).signatures["serving_default"]
    return {name: value.numpy() for name, value in serve(image=tf.constant(images)).items()}


@pytest.fixture(scope="module")
def by_openvino(smoke: SmokeRun, images: np.ndarray) -> dict[str, Any]:
    core = openvino.Core()
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    answer = core.compile_model(core.read_model(smoke.bundle), "CPU", hint)({"image": images})
    return {port.any_name: value for port, value in answer.items()}


def test_tensorflow_and_openvino_read_the_bundle_and_agree(
    by_tensorflow: dict[str, Any], by_openvino: dict[str, Any]
) -> None:
    assert by_tensorflow.keys() == by_openvino.keys() == OUTPUTS
    difference = np.abs(by_tensorflow["probabilities"] - by_openvino["probabilities"])
    assert difference.max() < 1e-5


def test_exported_maps_average_to_the_exported_logits(by_openvino: dict[str, Any]) -> None:
    means = by_openvino["activation_maps"].mean(axis=(1, 2))
    np.testing.assert_allclose(means, by_openvino["logits"], atol=1e-5)


def test_exported_probabilities_are_the_calibrated_logits(
    smoke: SmokeRun, by_tensorflow: dict[str, Any]
) -> None:
    scalings = json.loads((smoke.run / "calibration.json").read_text())["findings"]
    slopes, intercepts = (np.array([s[key] for s in scalings]) for key in ("slope", "intercept"))
    expected = 1 / (1 + np.exp(-(by_tensorflow["logits"] * slopes + intercepts)))
    np.testing.assert_allclose(by_tensorflow["probabilities"], expected, atol=1e-6)


def test_bundle_verifies_and_describes_itself(smoke: SmokeRun) -> None:
    bundle = open_bundle(smoke.bundle)
    described = bundle.description
    assert (bundle.name, bundle.version, bundle.input_size) == ("smoke", "1", 64)
    assert tuple(finding["name"] for finding in described["findings"]) == FINDINGS
    assert described["training_data"]["split_sha256"] == smoke.data.split.sha256()
    assert "Not a medical device" in described["intended_use"]
    assert "not the one to deploy" in described["intended_use"]
    assert bundle.golden().image.shape == (4, 64, 64, 1)


def test_what_a_bundle_calls_itself_depends_on_how_much_it_has_learnt_from(
    smoke: SmokeRun,
) -> None:
    from training.calibrate import Scaling
    from training.describe import describe

    record, calibration, report = (
        json.loads((smoke.run / f"{name}.json").read_text())
        for name in ("run", "calibration", "report")
    )
    scalings = [Scaling(**values) for values in calibration["findings"]]
    for images, words in ((9_999, "not the one to deploy"), (77_593, "on 77,593 images.")):
        record["data"]["sets"]["train"]["images"] = images
        given = ("x", "1", record, scalings, calibration["summary"], report)
        intended = describe(*given)["intended_use"]
        assert words in intended
        assert ("deploy" in intended) == (images < 10_000)


def test_finding_never_seen_has_no_measure_and_says_why_its_threshold_is_what_it_is(
    smoke: SmokeRun,
) -> None:
    findings = {f["name"]: f for f in open_bundle(smoke.bundle).description["findings"]}
    assert findings["Hernia"]["auroc"] is findings["Hernia"]["auroc_ci"] is None
    assert "only one class" in findings["Hernia"]["threshold_rule"]
    assert findings["Effusion"]["auroc"] is not None


def test_run_folder_says_all_that_repeats_the_run(smoke: SmokeRun) -> None:
    record = json.loads((smoke.run / "run.json").read_text())
    assert record["config"]["seed"] == smoke.config.seed
    assert record["data"]["split_sha256"] == smoke.data.split.sha256()
    assert {"python", "keras", "tensorflow", "numpy"} <= record["versions"].keys()
    assert record["backend"] == "tensorflow"
    assert record["hardware"]["cores"] >= 1
    assert record["code_commit"]
    assert (smoke.run / CHANGES).exists() == bool(read_changes())
    history = (smoke.run / "history.csv").read_text().splitlines()
    assert history[0] == "epoch,loss,val_loss,val_auroc"
    assert len(history) == 1 + smoke.config.epochs


def test_changed_code_is_kept_as_a_patch_that_makes_it_from_its_commit(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)

    code = tmp_path / "code.py"
    code.write_text("steps = 1\n")
    assert (read_commit(tmp_path), read_changes(tmp_path)) == ("unknown", b"")
    git("init")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-m", "begin")
    assert not read_commit(tmp_path).endswith("-dirty")
    assert read_changes(tmp_path) == b""
    in_latin_1 = "steps = 2  # größer\n".encode("latin-1")
    code.write_bytes(in_latin_1)
    assert read_commit(tmp_path).endswith("-dirty")
    (tmp_path / "p").write_bytes(read_changes(tmp_path))
    git("checkout", "code.py")
    git("apply", "p")
    assert code.read_bytes() == in_latin_1


def test_smoke_run_learns_something(smoke: SmokeRun) -> None:
    losses = [
        float(line.split(",")[1])
        for line in (smoke.run / "history.csv").read_text().splitlines()[1:]
    ]
    assert losses[-1] < 0.8 * losses[0]


def test_bundle_predicts_what_the_report_was_made_from(smoke: SmokeRun) -> None:
    from training.evaluate import evaluate
    from training.export import predict_bundle

    rows = smoke.data.split.test
    probabilities = predict_bundle(smoke.bundle, rows, smoke.cache)
    assert probabilities.shape == (len(rows), 14)
    thresholds = open_bundle(smoke.bundle).thresholds
    again = evaluate(rows, probabilities, thresholds, resamples=10, seed=1)
    report = json.loads((smoke.run / "report.json").read_text())["test"]
    assert again["macro_auroc"] == pytest.approx(report["macro_auroc"], abs=1e-6)


def test_export_takes_the_next_number_and_leaves_nothing_else_behind(
    smoke: SmokeRun, tmp_path: Path
) -> None:
    from training.export import export_bundle

    for name in ("1", "2-old", ".2.unfinished"):
        (tmp_path / name).mkdir()
    (tmp_path / ".2.unfinished" / "of a killed export").touch()
    assert export_bundle(smoke.run, tmp_path) == tmp_path / "2"
    assert {path.name for path in tmp_path.iterdir()} == {"1", "2", "2-old"}
    assert open_bundle(tmp_path / "2").version == "2"


def test_next_number_is_above_the_highest_though_some_are_gone(tmp_path: Path) -> None:
    from training.export import _next_version

    assert _next_version(tmp_path) == 1
    for name in ("2", "10"):
        (tmp_path / name).mkdir()
    assert _next_version(tmp_path) == 11


def test_export_waits_for_another_one_to_the_same_folder(smoke: SmokeRun, tmp_path: Path) -> None:
    from training.export import export_bundle

    with ThreadPoolExecutor(1) as pool:
        with lock_folder(tmp_path):
            waiting = pool.submit(export_bundle, smoke.run, tmp_path)
            with pytest.raises(TimeoutError):
                waiting.result(2)
            (tmp_path / "1").mkdir()
        assert waiting.result(120) == tmp_path / "2"


def test_export_that_fails_leaves_no_version_to_serve(smoke: SmokeRun, tmp_path: Path) -> None:
    from training.export import export_bundle

    run, model = shutil.copytree(smoke.run, tmp_path / "run"), tmp_path / "model"
    report = json.loads((run / "report.json").read_text())
    del report["test"]["macro_auroc"]
    (run / "report.json").write_text(json.dumps(report))
    with pytest.raises(KeyError):
        export_bundle(run, model)
    with pytest.raises(BundleError, match="no numbered version"):
        find_bundle(model)


def test_wrong_box_list_is_said_before_the_fit(smoke: SmokeRun, tmp_path: Path) -> None:
    from training.chain import finish

    (tmp_path / "BBox_List.csv").write_text("header\na.png,Rupture,1,2,3,4\n")
    data = replace(smoke.data, folder=tmp_path)
    with pytest.raises(DataError, match="line 2: unknown finding 'Rupture'"):
        finish(smoke.config, data, smoke.cache, tmp_path / "run", tmp_path / "model")
    assert not (tmp_path / "run").exists()


def test_run_that_another_process_is_at_work_on_is_left_alone(
    smoke: SmokeRun, tmp_path: Path
) -> None:
    from training.chain import finish

    with (
        lock_folder(tmp_path),
        pytest.raises(RunError, match="Another process is at work on"),
    ):
        finish(smoke.config, smoke.data, smoke.cache, tmp_path, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_evaluation_batches_hold_every_row_in_order(smoke: SmokeRun) -> None:
    from training.dataset import RadiographBatches

    rows = smoke.data.split.train
    batches = RadiographBatches(rows, smoke.cache, batch_size=7)
    labels = np.concatenate([batches[n][1] for n in range(len(batches))])
    assert np.array_equal(labels, [row.labels for row in rows])


def test_training_batches_hold_every_row_in_an_order_that_epochs_change(smoke: SmokeRun) -> None:
    from training.dataset import RadiographBatches

    rows = smoke.data.split.train
    batches = RadiographBatches(rows, smoke.cache, batch_size=7, shuffled=True, seed=2)
    epochs = []
    for epoch in range(2):
        batches.begin_epoch(epoch)
        epochs.append(np.concatenate([batches[n][0] for n in range(len(batches))]))
    assert not np.array_equal(*epochs)
    assert sorted(e.tobytes() for e in epochs[0]) == sorted(e.tobytes() for e in epochs[1])


def test_no_batch_is_too_small_for_its_devices(smoke: SmokeRun) -> None:
    from training.dataset import RadiographBatches

    few = RadiographBatches(smoke.data.split.train[:9], smoke.cache, 2, devices=4)
    assert [len(few[n][1]) for n in range(len(few))] == [4, 4]
    for devices in (1, 2, 4):
        batches = RadiographBatches(smoke.data.split.train[:33], smoke.cache, 16, devices=devices)
        sizes = [len(batches[n][1]) for n in range(len(batches))]
        assert sum(sizes) == 33 // devices * devices
        assert min(sizes) >= 8
        assert all(size % devices == 0 for size in sizes)
