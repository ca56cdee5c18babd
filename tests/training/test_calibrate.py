import numpy as np
import pytest

from contract.findings import FINDINGS
from training.calibrate import apply_scaling, calibrate, cross_validate_calibration
from training.errors import DataError
from training.metrics import Ranker, calibration_error_by_chance, mean_calibration_error
from training.table import Row

IMAGES, COUNT = 2_000, len(FINDINGS)


@pytest.fixture
def labels(rng: np.random.Generator) -> np.ndarray:
    return (rng.random((IMAGES, COUNT)) < 0.15).astype(int)


@pytest.fixture
def logits(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    return 3.0 * rng.normal(labels.astype(float), 1.0) - 1.0


def rows_of(labels: np.ndarray, patients: np.ndarray) -> list[Row]:
    pairs = zip(labels.tolist(), patients, strict=True)
    return [Row(str(n), str(patient), tuple(own)) for n, (own, patient) in enumerate(pairs)]


def test_calibration_keeps_the_ranking(logits: np.ndarray, labels: np.ndarray) -> None:
    probabilities = apply_scaling(calibrate(logits, labels), logits)
    for f in range(COUNT):
        assert np.array_equal(np.argsort(probabilities[:, f]), np.argsort(logits[:, f]))
        before, after = (Ranker(labels[:, f], s[:, f]).measure() for s in (logits, probabilities))
        assert before == after


def test_calibration_mends_overconfident_logits(logits: np.ndarray, labels: np.ndarray) -> None:
    raw = 1 / (1 + np.exp(-logits))
    calibrated = apply_scaling(calibrate(logits, labels), logits)
    assert mean_calibration_error(labels, raw) > 0.1
    assert mean_calibration_error(labels, calibrated) < 0.02
    assert calibrated.mean() == pytest.approx(labels.mean(), abs=0.005)


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0, 40.0])
@pytest.mark.parametrize("shift", [-60.0, -3.0, 0.0, 100.0])
def test_calibration_is_the_same_wherever_the_logits_lie(
    scale: float, shift: float, rng: np.random.Generator
) -> None:
    truth = rng.normal(-5.0, 1.5, (20_000, COUNT))
    labels = (rng.random(truth.shape) < 1 / (1 + np.exp(-truth))).astype(int)
    labels[20:, 3] = 0
    expected = apply_scaling(calibrate(truth, labels), truth)
    moved = scale * truth + shift
    scalings = calibrate(moved, labels)
    others = [f for f in range(COUNT) if f != 3]
    found = apply_scaling(scalings, moved)
    np.testing.assert_allclose(found[:, others], expected[:, others], rtol=1e-6)
    assert expected[:, others].mean() == pytest.approx(labels[:, others].mean(), rel=0.02)
    assert scalings[3].method.startswith("intercept only")
    assert found[:, 3].mean() == pytest.approx(1 / 20_002, rel=1e-3)


def test_few_positives_get_an_intercept_only_and_a_recorded_reason(
    logits: np.ndarray, labels: np.ndarray
) -> None:
    labels[:, 3] = 0
    labels[:4, 3] = 1
    scaling = calibrate(logits, labels)[3]
    assert (scaling.slope, scaling.positives) == (1.0, 4)
    assert scaling.method == "intercept only (only 4 of one class)"
    assert 0 < apply_scaling([scaling] * COUNT, logits)[:, 3].mean() < 0.01


@pytest.mark.parametrize("rare", [0, 1])
def test_nine_of_one_class_get_an_intercept_only_and_ten_a_slope(
    logits: np.ndarray, rare: int
) -> None:
    labels = np.full((IMAGES, COUNT), 1 - rare)
    labels[:9, 0] = labels[:10, 1] = rare
    logits[:10] += 9.0 if rare else -9.0
    nine, ten = calibrate(logits, labels)[:2]
    assert (nine.slope, nine.method) == (1.0, "intercept only (only 9 of one class)")
    assert ten.method == "Platt scaling"


def test_finding_without_positives_gets_a_threshold_that_says_so(
    logits: np.ndarray, labels: np.ndarray
) -> None:
    labels[:, 3] = 0
    scaling = calibrate(logits, labels)[3]
    assert scaling.threshold == 0.5
    assert scaling.threshold_rule == "Youden: 0.5, as there is only one class"


def test_reversed_logits_are_not_turned_round(logits: np.ndarray, labels: np.ndarray) -> None:
    scaling = calibrate(-logits, labels)[0]
    assert scaling.slope == 1.0
    assert scaling.method == "intercept only (slope not positive)"


def test_youden_threshold_separates_what_can_be_separated(labels: np.ndarray) -> None:
    scalings = calibrate(labels * 4.0 - 2.0, labels)
    called = apply_scaling(scalings, labels * 4.0 - 2.0) >= [s.threshold for s in scalings]
    assert np.array_equal(called, labels.astype(bool))
    assert {s.threshold_rule for s in scalings} == {"Youden"}


def test_cross_validation_shows_what_chance_shows_for_logits_that_platt_fits(
    logits: np.ndarray, labels: np.ndarray
) -> None:
    rows = rows_of(labels, np.arange(IMAGES) // 2)
    crossed = cross_validate_calibration(rows, logits, seed=1)
    assert (crossed["folds"], crossed["patients"], crossed["images"]) == (10, 1_000, IMAGES)
    assert crossed["ece"] == pytest.approx(crossed["ece_if_perfect"], rel=0.3)
    assert crossed["ece"] < 0.02
    assert set(crossed["findings"]) == set(FINDINGS)
    assert np.mean(list(crossed["findings"].values())) == pytest.approx(crossed["ece"])


def test_cross_validation_never_fits_on_a_patient_that_it_measures(
    rng: np.random.Generator,
) -> None:
    # Each patient has a logit of its own and labels that agree among its images: a fit that has
    # seen the patient's other images would know; one that has not must fall back to the frequency.
    labels = np.repeat((rng.random((60, COUNT)) < 0.5).astype(int), 20, axis=0)
    patients = np.repeat(np.arange(60), 20)
    shuffled = rng.permutation(len(patients))
    by_patient, by_image = (
        cross_validate_calibration(rows_of(labels[shuffled], owner), np.zeros(labels.shape), seed=1)
        for owner in (patients[shuffled], np.arange(len(patients)))
    )
    assert by_patient["ece"] > 2 * by_image["ece"]


def test_cross_validation_of_too_few_patients_is_refused(
    logits: np.ndarray, labels: np.ndarray
) -> None:
    with pytest.raises(DataError, match="10 folds of 9 patients"):
        cross_validate_calibration(rows_of(labels, np.arange(IMAGES) % 9), logits, seed=1)


def test_calibration_error_by_chance_is_that_of_the_mean_binomial_deviation() -> None:
    # 100 images a bin at 0.5: the mean absolute deviation is 0.05 * sqrt(2 / pi).
    halves = np.tile(np.linspace(0.499, 0.501, 1_000)[:, np.newaxis], 20)
    chance = calibration_error_by_chance(halves, draws=20, seed=1)
    assert chance == pytest.approx(0.05 * np.sqrt(2 / np.pi), rel=0.05)
