import numpy as np
import pytest

from training.calibrate import apply_scaling, calibrate, calibrate_after_loss
from training.losses import Loss, build_loss, class_weights, share_of_positives, undo_loss
from training.quiet import start_keras

LOSSES: tuple[Loss, ...] = ("cross_entropy", "weighted", "focal")


@pytest.fixture(scope="module", autouse=True)
def _keras() -> None:
    start_keras()


def measure(kind: Loss, labels: np.ndarray, logits: np.ndarray, **options: float) -> np.ndarray:
    shares = share_of_positives(labels)
    arrays = labels.astype(np.float32), logits.astype(np.float32)
    return np.asarray(build_loss(kind, shares, **options)(*arrays))


@pytest.fixture
def batch(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return (rng.random((200, 14)) < 0.1).astype(np.float64), rng.normal(-1, 2, (200, 14))


def test_each_loss_is_its_formula_per_image(batch: tuple[np.ndarray, np.ndarray]) -> None:
    labels, logits = batch
    p, share = 1 / (1 + np.exp(-logits)), labels.mean(axis=0)
    positive, negative = -labels * np.log(p), -(1 - labels) * np.log(1 - p)
    formulas = {
        "cross_entropy": positive + negative,
        "weighted": (1 - share) * positive + share * negative,
        "focal": (1 - p) ** 2 * positive + p**2 * negative,
    }
    for kind in LOSSES:
        expected = formulas[kind].mean(axis=1)
        np.testing.assert_allclose(measure(kind, labels, logits), expected, rtol=2e-5)


def test_label_smoothing_is_that_of_keras(batch: tuple[np.ndarray, np.ndarray]) -> None:
    import keras

    labels, logits = batch
    expected = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1)
    mean = measure("cross_entropy", labels, logits, label_smoothing=0.1).mean()
    assert mean == pytest.approx(float(expected(labels, logits)), rel=1e-5)


@pytest.mark.parametrize("kind", LOSSES)
def test_extreme_logits_keep_the_loss_finite(kind: Loss) -> None:
    labels = np.tile([[1.0], [0.0]], 14)
    assert np.isfinite(measure(kind, labels, np.full((2, 14), 90.0))).all()
    assert np.isfinite(measure(kind, labels, np.full((2, 14), -90.0))).all()


def test_weights_let_both_classes_contribute_equally() -> None:
    labels = np.zeros((100, 2))
    labels[:3, 0], labels[:40, 1] = 1, 1
    of_positives, of_negatives = class_weights(share_of_positives(labels))
    np.testing.assert_allclose(of_positives * [3, 40], of_negatives * [97, 60])


def test_finding_without_positives_keeps_finite_weights_and_shifts() -> None:
    shares = share_of_positives(np.zeros((50, 14), np.int64))
    assert np.isfinite(undo_loss("weighted", shares)).all()
    assert np.isfinite(undo_loss("focal", shares)).all()


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("frequency", [0.002, 0.05, 0.3])
def test_undone_logit_of_the_least_loss_is_that_of_the_frequency(
    kind: Loss, frequency: float
) -> None:
    import keras

    shares = np.array([frequency])
    grid = np.linspace(-8, 2, 200_001)[:, np.newaxis]
    loss = build_loss(kind, shares)
    present, absent = (
        np.asarray(loss(np.full_like(grid, label), keras.ops.array(grid, "float64")))
        for label in (1.0, 0.0)
    )
    assert present.dtype == np.float64
    least = grid[np.argmin(frequency * present + (1 - frequency) * absent), 0]
    slopes, shifts = undo_loss(kind, shares)
    honest = slopes[0] * least + shifts[0]
    assert honest == pytest.approx(np.log(frequency / (1 - frequency)), abs=1e-3)


@pytest.mark.parametrize("kind", ["weighted", "focal"])
def test_bent_logits_calibrate_to_the_frequencies_even_by_intercept_only(
    kind: Loss, rng: np.random.Generator
) -> None:
    truth = rng.normal(-3.5, 1.0, (4000, 14))
    frequencies = 1 / (1 + np.exp(-truth))
    labels = (rng.random(truth.shape) < frequencies).astype(np.int64)
    slopes, shifts = undo_loss(kind, share_of_positives(labels))
    bent = (truth - shifts) / slopes
    few = np.where(np.cumsum(labels, axis=0) > 8, 0, labels)
    scalings = calibrate_after_loss(bent, few, slopes, shifts)
    assert all("intercept only" in scaling.method for scaling in scalings)
    np.testing.assert_allclose([one.slope for one in scalings], slopes)
    full = apply_scaling(calibrate_after_loss(bent, labels, slopes, shifts), bent)
    assert np.abs(full - frequencies).mean() < 0.01


def test_calibration_behind_a_loss_is_that_of_its_undone_logits(rng: np.random.Generator) -> None:
    logits = rng.normal(-1.0, 2.0, (2000, 14))
    labels = (rng.random(logits.shape) < 1 / (1 + np.exp(-0.4 * logits))).astype(np.int64)
    slopes, shifts = np.full(14, 1.7), np.full(14, -2.5)
    undone = logits * slopes + shifts
    np.testing.assert_allclose(
        apply_scaling(calibrate_after_loss(logits, labels, slopes, shifts), logits),
        apply_scaling(calibrate(undone, labels), undone),
    )
