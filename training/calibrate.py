"""Validation logits -> Platt scaling and an operating point per finding."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contract.findings import FINDINGS
from training.metrics import (
    Floats,
    calibration_error_by_chance,
    expected_calibration_error,
    mean_calibration_error,
)
from training.operating import choose_points
from training.platt import fit_intercept, fit_platt, sigmoid
from training.split import assign_folds
from training.table import Row, stack_labels

FOLDS: Final = 10
"""Of patients, to cross-validate the calibration."""

_CHANCE_DRAWS: Final = 50

MIN_POSITIVES: Final = 10
"""With fewer positives (or negatives) a slope is noise: only the intercept is fitted."""


@dataclass(frozen=True)
class Scaling:
    """Calibration of one finding: probability = sigmoid(slope * logit + intercept).

    `method` and `threshold_rule` say what was done, and why where data were too few for the usual.
    """

    finding: str
    slope: float
    intercept: float
    method: str
    threshold: float
    threshold_rule: str
    positives: int


def calibrate(logits: NDArray[np.floating[Any]], labels: NDArray[np.generic]) -> list[Scaling]:
    """Fit every finding on validation logits and labels, both [N,14]."""
    columns = zip(FINDINGS, logits.T.astype(np.float64), labels.T.astype(np.float64), strict=True)
    return [_calibrate_finding(*column) for column in columns]


def apply_scaling(
    scalings: Sequence[Scaling], logits: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Return calibrated probabilities [N,14] of logits [N,14]."""
    slopes = np.array([scaling.slope for scaling in scalings])
    intercepts = np.array([scaling.intercept for scaling in scalings])
    return sigmoid(logits * slopes + intercepts)


def cross_validate_calibration(
    rows: Sequence[Row], logits: NDArray[np.floating[Any]], seed: int
) -> dict[str, Any]:
    """Measure the calibration error on patients whom the calibration was not fitted on.

    The patients of `rows` are dealt into FOLDS at random; each fold gets the scaling that the
    others gave, and the error is measured over all images at once. `logits` are [N,14], and the
    network must not have been trained on these images either. `ece_if_perfect` is what sampling
    noise alone would show. Raises DataError for fewer patients than folds.
    """
    labels = stack_labels(rows).astype(np.float64)
    probabilities = cross_calibrate(logits, labels, assign_folds(rows, FOLDS, seed))
    return {
        "folds": FOLDS,
        "patients": len({row.patient for row in rows}),
        "images": len(rows),
        "ece": mean_calibration_error(labels, probabilities),
        "ece_if_perfect": calibration_error_by_chance(probabilities, _CHANCE_DRAWS, seed),
        "findings": {
            name: expected_calibration_error(labels[:, f], probabilities[:, f])
            for f, name in enumerate(FINDINGS)
        },
    }


def calibrate_after_loss(
    logits: NDArray[np.floating[Any]],
    labels: NDArray[np.generic],
    slopes: Floats,
    shifts: Floats,
) -> list[Scaling]:
    """Calibrate slope * logit + shift, [F] each; the scalings returned are for the logits."""
    scalings = calibrate(logits * slopes + shifts, labels)
    return [
        replace(one, slope=one.slope * slope, intercept=one.slope * shift + one.intercept)
        for one, slope, shift in zip(scalings, slopes.tolist(), shifts.tolist(), strict=True)
    ]


def cross_calibrate(
    logits: NDArray[np.floating[Any]], labels: NDArray[np.generic], folds: NDArray[np.integer[Any]]
) -> Floats:
    """Return probabilities [N,14], those of each fold calibrated on the others; `folds` is [N]."""
    probabilities = np.empty(logits.shape)
    for fold in np.unique(folds):
        out = folds == fold
        probabilities[out] = apply_scaling(calibrate(logits[~out], labels[~out]), logits[out])
    return probabilities


def _calibrate_finding(finding: str, logits: Floats, labels: Floats) -> Scaling:
    positives = int(labels.sum())
    fewer = min(positives, len(labels) - positives)
    slope, intercept = fit_platt(logits, labels) if fewer >= MIN_POSITIVES else (0.0, 0.0)
    method = "Platt scaling"
    if slope <= 0.0:
        # A slope of zero or less would undo or reverse the ranking.
        why = "slope not positive" if fewer >= MIN_POSITIVES else f"only {fewer} of one class"
        method = f"intercept only ({why})"
        slope, intercept = 1.0, fit_intercept(logits, labels)
    probabilities = sigmoid(slope * logits + intercept)
    point = choose_points(labels, probabilities)[0]
    return Scaling(finding, slope, intercept, method, point.threshold, point.rule, positives)
