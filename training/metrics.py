"""Exact ranking and calibration measures in numpy; Keras' own AUC approximates with thresholds."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.floating[Any] | np.integer[Any]]
CALIBRATION_BINS: Final = 10
CONFIDENCE: Final = 0.95


class Ranking(NamedTuple):
    """Both undefined measures are NaN: AUROC needs both classes, AUPRC a positive."""

    auroc: float
    auprc: float


class Ranker:
    """One finding's scores, sorted once, measured under any weights of its images.

    `labels` and `scores` are [N]; a weight says how often an image counts, as in a bootstrap.
    """

    def __init__(self, labels: Numbers, scores: Numbers) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ranked = scores[self._order]
        # Tied scores form one step of the curve: only the last image of each tie ends a step.
        self._ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        self._labels = labels[self._order].astype(np.float64)

    def measure(self, weights: Numbers | None = None) -> Ranking:
        """Return AUROC (Mann-Whitney statistic, ties count half) and AUPRC (average precision)."""
        counts = np.ones(len(self._order)) if weights is None else weights[self._order]
        true = np.cumsum(counts * self._labels)[self._ends]
        false = np.cumsum(counts * (1.0 - self._labels))[self._ends]
        new_true, new_false = np.diff(true, prepend=0.0), np.diff(false, prepend=0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            auroc = np.sum(new_false * (true - new_true / 2)) / (true[-1] * false[-1])
            precision = np.where(new_true > 0, true / (true + false), 0.0)
            auprc = np.sum(new_true * precision) / true[-1]
        return Ranking(float(auroc), float(auprc))


def measure_auroc(labels: Numbers, scores: Numbers) -> Floats:
    """Return the AUROC of every finding, [F], of labels and scores [N,F]; NaN where undefined."""
    pairs = zip(labels.T, scores.T, strict=True)
    return np.array([Ranker(label, score).measure().auroc for label, score in pairs])


def macro_auroc(labels: Numbers, scores: Numbers) -> float:
    """Return the mean AUROC over the findings where it is defined, NaN where there are none."""
    return mean_defined(measure_auroc(labels, scores))


def mean_defined(values: Floats) -> float:
    """Return the mean of what is not NaN, NaN where nothing is left."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def draw_patient_weights(
    patients: NDArray[np.generic], resamples: int, seed: int
) -> NDArray[np.int64]:
    """Return how often each image counts in each bootstrap resample of patients, [resamples,N].

    Patients are drawn, not images: images of one patient resemble each other, and drawing them
    singly would make the intervals too narrow.
    """
    _, owner = np.unique(patients, return_inverse=True)
    count = int(owner.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = [np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(resamples)]
    return np.stack(drawn)[:, owner]


def interval(values: Floats) -> list[float] | None:
    """Return the percentile interval [low, high] of what is not NaN, None where nothing is left."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    tail = 50.0 * (1.0 - CONFIDENCE)
    return [float(bound) for bound in np.percentile(defined, [tail, 100.0 - tail])]


def expected_calibration_error(labels: Floats, probabilities: Floats) -> float:
    """Return the mean gap between probability and frequency over bins of equal count, [N] each.

    Ten bins (Naeini et al., 2015), of equal count because a rare finding leaves bins of equal width
    empty. It is never 0 on a finite sample: see `calibration_error_by_chance`.
    """
    order = np.argsort(probabilities, kind="stable")
    gaps = [
        abs(float(np.sum(probabilities[part] - labels[part])))
        for part in np.array_split(order, CALIBRATION_BINS)
    ]
    return sum(gaps) / len(order)


def mean_calibration_error(labels: Numbers, probabilities: Numbers) -> float:
    """Return the expected calibration error averaged over findings, for [N,F]."""
    pairs = zip(labels.T.astype(np.float64), probabilities.T.astype(np.float64), strict=True)
    return float(np.mean([expected_calibration_error(*pair) for pair in pairs]))


def calibration_error_by_chance(probabilities: Numbers, draws: int, seed: int) -> float:
    """Return what `mean_calibration_error` shows for labels drawn from the probabilities, [N,F].

    So much is sampling noise: the mean over `draws` samples of perfectly calibrated labels.
    """
    rng = np.random.default_rng(seed)
    samples = (rng.random(probabilities.shape) < probabilities for _ in range(draws))
    return float(np.mean([mean_calibration_error(one * 1.0, probabilities) for one in samples]))
