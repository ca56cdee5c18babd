import numpy as np
import pytest

from contract.findings import FINDINGS
from training.calibrate import apply_scaling, calibrate
from training.metrics import Ranker, mean_calibration_error

IMAGES, COUNT = 2_000, len(FINDINGS)


@pytest.fixture
def labels(rng: np.random.Generator) -> np.ndarray:
    return (rng.random((IMAGES, COUNT)) < 0.15).astype(int)


@pytest.fixture
def logits(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    return 3.0 * rng.normal(labels.astype(float), 1.0) - 1.0


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


def test_few_positives_get_an_intercept_only_and_a_recorded_reason(
    logits: np.ndarray, labels: np.ndarray
) -> None:
    labels[:, 3] = 0
    labels[:4, 3] = 1
    scaling = calibrate(logits, labels)[3]
    assert (scaling.slope, scaling.positives) == (1.0, 4)
    assert scaling.method == "intercept only (only 4 of one class)"
    assert 0 < apply_scaling([scaling] * COUNT, logits)[:, 3].mean() < 0.01


def test_finding_without_positives_gets_a_threshold_that_says_so(
    logits: np.ndarray, labels: np.ndarray
) -> None:
    labels[:, 3] = 0
    scaling = calibrate(logits, labels)[3]
    assert scaling.threshold == 0.5
    assert scaling.threshold_rule == "0.5, because validation holds only one class"


def test_reversed_logits_are_not_turned_round(logits: np.ndarray, labels: np.ndarray) -> None:
    scaling = calibrate(-logits, labels)[0]
    assert scaling.slope == 1.0
    assert scaling.method == "intercept only (slope not positive)"


def test_youden_threshold_separates_what_can_be_separated(labels: np.ndarray) -> None:
    scalings = calibrate(labels * 4.0 - 2.0, labels)
    called = apply_scaling(scalings, labels * 4.0 - 2.0) >= [s.threshold for s in scalings]
    assert np.array_equal(called, labels.astype(bool))
    assert {s.threshold_rule for s in scalings} == {"Youden"}
