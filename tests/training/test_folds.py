"""The whole recipe of the bundled model, small, on drawn images."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from contract.bundle import open_bundle
from contract.findings import FINDINGS
from tests.training.conftest import SmokeRun, call
from training.calibrate import cross_calibrate
from training.config import read_config
from training.data import read_folder
from training.errors import ConfigError, DataError
from training.metrics import mean_calibration_error
from training.prepare import prepare_images
from training.progress import REFIT
from training.split import assign_folds
from training.table import Row, stack_labels

FOLDS = 2


@pytest.fixture(scope="module")
def folded(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SmokeRun:
    """Run the whole chain with two folds, whose networks go on with all patients."""
    work = tmp_path_factory.mktemp("folds")
    changes = [f"folds={FOLDS}", "epochs=2", "refit_epochs=1", "bootstrap_resamples=5"]
    config = read_config("smoke", changes)
    data = read_folder(drawn_folder, config)
    cache = prepare_images(data.files, config.input_size, work / "cache")
    from training.chain import train

    train(config, data, cache, work / "run", work / "models" / "folds")
    bundle = work / "models" / "folds" / "1"
    return SmokeRun(config, data, cache, work / "cache", work / "run", bundle)


def rows_of(patients: int) -> list[Row]:
    none = (0,) * len(FINDINGS)
    return [Row(f"{p}_{image}", str(p), none) for p in range(patients) for image in range(3)]


def test_folds_keep_each_patient_whole_and_are_of_nearly_equal_size() -> None:
    rows = rows_of(patients=50)
    folds = assign_folds(rows, 4, seed=1)
    assert {len(set(folds[n : n + 3])) for n in range(0, len(rows), 3)} == {1}
    assert sorted(np.bincount(folds) // 3) == [12, 12, 13, 13]
    assert np.array_equal(folds, assign_folds(rows, 4, seed=1))
    assert not np.array_equal(folds, assign_folds(rows, 4, seed=2))


def test_more_folds_than_patients_are_refused() -> None:
    with pytest.raises(DataError, match="4 folds of 3 patients"):
        assign_folds(rows_of(patients=3), 4, seed=1)


def test_members_begin_from_seeds_of_their_own() -> None:
    from training.folds import _member_configs

    config = dataclasses.replace(read_config("smoke"), folds=3, seed=7)
    assert [one.seed for one in _member_configs(config)] == [7, 8, 9]


@pytest.mark.parametrize("folds", [-1, 1])
def test_number_of_folds_that_means_nothing_is_refused(folds: int) -> None:
    with pytest.raises(ConfigError, match="folds is 0, or 2 and more"):
        read_config("smoke", [f"folds={folds}"])


def test_labels_of_a_fold_do_not_reach_its_own_probabilities(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(200, len(FINDINGS)))
    labels = (rng.random(logits.shape) < 0.3).astype(int)
    folds = np.arange(200) % 4
    before = cross_calibrate(logits, labels, folds)
    labels[folds == 2] = 1 - labels[folds == 2]
    after = cross_calibrate(logits, labels, folds)
    assert np.array_equal(before[folds == 2], after[folds == 2])
    assert not np.array_equal(before[folds == 1], after[folds == 1])


def test_out_of_fold_answers_are_those_of_the_member_that_never_saw_the_image(
    folded: SmokeRun,
) -> None:
    from training.epoch import WEIGHTS
    from training.fit import predict
    from training.folds import learnt_rows, read_out_of_fold
    from training.network import build_network

    rows = learnt_rows(folded.data.split)
    folds = assign_folds(rows, FOLDS, folded.config.seed)
    stored = read_out_of_fold(folded.config, folded.data.split, folded.run)
    for fold in range(FOLDS):
        member = build_network(folded.config)
        member.load_weights(folded.run / f"member{fold}" / WEIGHTS)
        answers = predict(member, rows, folded.cache, batch_size=32)
        np.testing.assert_allclose(stored[folds == fold], answers[folds == fold], atol=1e-4)
        assert np.abs(stored[folds != fold] - answers[folds != fold]).max() > 1e-2


def test_exported_network_answers_with_the_mean_of_its_members_after_they_went_on(
    folded: SmokeRun,
) -> None:
    from training.epoch import WEIGHTS
    from training.export import load_signature
    from training.network import build_network

    images = folded.cache.pixels[:3]
    answer = load_signature(folded.bundle)(image=images)
    member, before, after, widths = build_network(folded.config), [], [], 0
    for fold in range(FOLDS):
        member.load_weights(folded.run / f"member{fold}" / WEIGHTS)
        before.append(member.predict_on_batch(images)["logits"])
        member.load_weights(folded.run / f"member{fold}" / REFIT / WEIGHTS)
        own = member.predict_on_batch(images)
        after.append(own["logits"])
        widths += own["embedding"].shape[1]
    np.testing.assert_allclose(answer["logits"], np.mean(after, axis=0), atol=1e-4)
    assert np.abs(answer["logits"] - np.mean(before, axis=0)).max() > 1e-2
    maps = answer["activation_maps"].numpy()
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), answer["logits"], atol=1e-4)
    assert answer["embedding"].shape == (3, widths)


def test_bundle_counts_all_images_it_learnt_and_says_where_its_thresholds_are_from(
    folded: SmokeRun,
) -> None:
    described = open_bundle(folded.bundle).description
    split = folded.data.split
    assert described["training_data"]["images"] == len(split.train) + len(split.validation)
    assert described["calibration"]["split"] == "out of 2 folds"
    assert list(described["macro_auroc"]) == ["out of 2 folds", "test"]
    assert described["findings"][0]["threshold_source"].startswith("out of 2 folds, ")
    report = json.loads((folded.run / "report.json").read_text())
    assert report["validation"]["images"] == described["training_data"]["images"]


def test_youden_point_of_the_report_is_the_threshold_that_ships(folded: SmokeRun) -> None:
    report = json.loads((folded.run / "report.json").read_text())
    thresholds = open_bundle(folded.bundle).thresholds
    for part in ("validation", "test"):
        for finding, threshold in zip(report[part]["findings"], thresholds, strict=True):
            point = finding["operating_points"][0]
            assert point["rule"].startswith("Youden")
            assert point["threshold"] == pytest.approx(threshold, abs=1e-12)
            assert point["sensitivity"] == finding["sensitivity"]


def test_calibration_error_out_of_folds_is_of_images_that_the_calibration_was_not_fitted_on(
    folded: SmokeRun,
) -> None:
    from training.folds import learnt_rows, read_out_of_fold

    rows = learnt_rows(folded.data.split)
    labels = np.array([row.labels for row in rows])
    logits = read_out_of_fold(folded.config, folded.data.split, folded.run)
    crossed = cross_calibrate(logits, labels, assign_folds(rows, FOLDS, folded.config.seed))
    told = json.loads((folded.run / "calibration.json").read_text())["summary"]["ece_after"]
    assert told == pytest.approx(mean_calibration_error(labels, crossed))


def test_card_tells_what_folds_did(folded: SmokeRun) -> None:
    card = (folded.bundle / "assets.extra" / "card.md").read_text()
    assert "Averages 2 networks `small`" in card
    assert "2 epochs, then 1 epochs on all patients" in card
    assert "Thresholds were chosen on answers out of 2 folds" in card
    assert "All but the error on test is of networks before they learnt from all" in card
    assert "on validation (which all 2 networks learnt from)" in card
    assert "chosen on validation" not in card


def test_report_on_the_bundle_says_that_members_have_learnt_where_its_points_were_chosen(
    folded: SmokeRun, tmp_path: Path
) -> None:
    given = ["--data", folded.data.folder, "--cache", folded.cache_folder]
    assert call("evaluate", folded.bundle, *given, "--report", tmp_path / "r") == 0
    assert "that all 2 networks have learnt from" in (tmp_path / "r" / "report.html").read_text()


def test_comparison_says_that_members_have_learnt_from_validation(
    folded: SmokeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", folded.data.folder, "--split", "validation"]
    cache = ["--cache", folded.cache_folder]
    assert call("compare", folded.bundle, folded.bundle, *given, *cache) == 0
    said = "folds 1 was trained on these images, so its figures are optimistic."
    assert capsys.readouterr().out.count(said) == 2


def test_finished_members_are_not_fitted_again_and_need_not_go_on(
    folded: SmokeRun, tmp_path: Path
) -> None:
    from training.epoch import WEIGHTS
    from training.fit import load_best
    from training.folds import fit_folds
    from training.network import build_network

    run = tmp_path / "run"
    shutil.copytree(folded.run, run)
    left = (run / "member0" / "state.npz").stat().st_mtime_ns
    config = dataclasses.replace(folded.config, refit_epochs=0)
    fit_folds(config, folded.data.split, folded.cache, run)
    assert (run / "member0" / "state.npz").stat().st_mtime_ns == left
    images, member, logits = folded.cache.pixels[:3], build_network(config), []
    for fold in range(FOLDS):
        member.load_weights(run / f"member{fold}" / WEIGHTS)
        logits.append(member.predict_on_batch(images)["logits"])
    mean = load_best(config, run).predict_on_batch(images)["logits"]
    np.testing.assert_allclose(mean, np.mean(logits, axis=0), atol=1e-4)


def test_going_on_begins_from_all_weights_of_the_fit_before_it(
    folded: SmokeRun, tmp_path: Path
) -> None:
    from training.epoch import WEIGHTS
    from training.folds import learnt_rows, refit
    from training.losses import share_of_positives
    from training.network import build_network

    rows = learnt_rows(folded.data.split)
    shutil.copy(folded.run / "member1" / WEIGHTS, tmp_path)
    config = dataclasses.replace(folded.config, folds=0, learning_rate=1e-12)
    shares = share_of_positives(stack_labels(rows))
    refit(config, rows, folded.cache, tmp_path, shares)
    before, after = build_network(config), build_network(config)
    before.load_weights(tmp_path / WEIGHTS)
    after.load_weights(tmp_path / "refit" / WEIGHTS)
    for one, other in zip(before.trainable_weights, after.trainable_weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6, err_msg=one.path)


def test_every_member_is_quantised_but_for_its_first_and_last_convolution(
    folded: SmokeRun,
) -> None:
    from training.quantise import quantise

    images = list(folded.cache.pixels[:8])
    operations = quantise(folded.bundle, images).get_ops()
    convolutions = [one for one in operations if one.get_type_name() == "Convolution"]
    whole = sum(one.input_value(1).get_node().get_type_name() == "Constant" for one in convolutions)
    assert whole == 2 * FOLDS
    assert len(convolutions) > 2 * whole
