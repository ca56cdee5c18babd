"""Fit a line from logits to calibrated logits, for one finding."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.metrics import Floats

_STEPS: Final = 100
_TINY: Final = 1e-10


def fit_platt(logits: Floats, labels: Floats) -> tuple[float, float]:
    """Fit slope and intercept to Platt's softened labels (Platt, 1999); both arrays are [N].

    Newton's method from the mean frequency, each step halved until the likelihood does not fall:
    the softened labels have one finite optimum, which that reaches from wherever the logits lie.
    """
    targets = _soften(labels)
    centre, spread = logits.mean(), logits.std() or 1.0
    design = np.stack([(logits - centre) / spread, np.ones_like(logits)], axis=1)
    frequency = targets.mean()
    weights = np.array([0.0, np.log(frequency / (1.0 - frequency))])
    for _ in range(_STEPS):
        p = sigmoid(design @ weights)
        gradient = design.T @ (p - targets)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + _TINY * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        loss = _cross_entropy(design @ weights, targets)
        while _cross_entropy(design @ (weights - step), targets) > loss:
            step /= 2.0
        weights = weights - step
        if np.abs(step).max() < _TINY:
            break
    slope = weights[0] / spread
    return float(slope), float(weights[1] - slope * centre)


def _cross_entropy(logits: Floats, targets: Floats) -> float:
    return float((np.logaddexp(0.0, logits) - targets * logits).sum())


def fit_intercept(logits: Floats, labels: Floats) -> float:
    """Shift the logits [N] until the mean probability is the (softened) frequency, by bisection."""
    frequency = _soften(labels).mean()
    low, high = -50.0 - logits.max(), 50.0 - logits.min()
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if sigmoid(logits + middle).mean() < frequency else (low, middle)
    return float((low + high) / 2)


def _soften(labels: Floats) -> Floats:
    positives = labels.sum()
    negatives = len(labels) - positives
    soft_one, soft_zero = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    return np.asarray(np.where(labels == 1, soft_one, soft_zero), np.float64)


def sigmoid(x: NDArray[np.floating[Any]]) -> Floats:
    """Return 1 / (1 + exp(-x)), of whatever shape."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -60.0, 60.0))), np.float64)
