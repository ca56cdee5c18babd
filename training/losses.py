"""What training minimises, and what each loss does to the logits that calibration must undo."""

import math
from collections.abc import Callable
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from training.metrics import Floats

Loss = Literal["cross_entropy", "weighted", "focal"]

GAMMA: Final = 2
"""Focusing parameter of the focal loss; 2 was best in Lin et al., ICCV 2017, table 1b."""

_MAX_LOGIT: Final = 40.0
_BISECTIONS: Final = 100


def share_of_positives(labels: NDArray[np.generic]) -> Floats:
    """Return the share of positives per finding, [F], of training labels [N,F].

    A finding without a positive (or negative) counts as having one, so that its logit stays finite.
    """
    count = len(labels)
    positives = labels.sum(axis=0, dtype=np.float64)
    return np.asarray(np.clip(positives, 1, count - 1) / count, np.float64)


def class_weights(shares: Floats) -> tuple[Floats, Floats]:
    """Return the weights of positives and of negatives, [F] each, of the weighted loss.

    Positives weigh as much as there are negatives and the other way round, so that both classes
    contribute equally to the loss of their finding.
    """
    return 1.0 - shares, shares


def build_loss(kind: Loss, shares: Floats, label_smoothing: float = 0.0) -> Callable[..., Any]:
    """Return the loss of labels and logits [N,F] as one number per image, [N], for any backend.

    `shares` are those of `share_of_positives`; only "weighted" looks at them.
    """
    from keras import ops

    def loss(labels: Any, logits: Any) -> Any:
        targets = labels * (1.0 - label_smoothing) + label_smoothing / 2
        if_positive, if_negative = ops.softplus(-logits), ops.softplus(logits)
        if kind == "weighted":
            of_positives, of_negatives = (ops.cast(w, logits.dtype) for w in class_weights(shares))
            if_positive, if_negative = of_positives * if_positive, of_negatives * if_negative
        if kind == "focal":
            probability = ops.sigmoid(logits)
            if_positive = (1.0 - probability) ** GAMMA * if_positive
            if_negative = probability**GAMMA * if_negative
        return ops.mean(targets * if_positive + (1.0 - targets) * if_negative, axis=-1)

    return loss


def undo_loss(kind: Loss, shares: Floats) -> tuple[Floats, Floats]:
    """Return slopes and shifts, [F] each, that turn logits of a loss into those of frequencies.

    Found from the logit z that minimises the expected loss where the frequency is p. Weighted:
    w_pos p / (w_neg (1 - p)) = exp(z), hence logit(p) = z + log(w_neg / w_pos), exactly. Focal:
    logit(p) = g(z), a curve (Charoenphakdee et al., CVPR 2021, theorem 11); returned is its tangent
    where p is the share of positives. Smoothed and softened labels are left to Platt scaling.
    """
    ones, zeros = np.ones_like(shares), np.zeros_like(shares)
    if kind == "weighted":
        of_positives, of_negatives = class_weights(shares)
        return ones, np.log(of_negatives / of_positives)
    if kind == "focal":
        tangents = np.array([_focal_tangent(math.log(p / (1.0 - p))) for p in shares])
        return tangents[:, 0], tangents[:, 1]
    return ones, zeros


def undo_focal(logit: float) -> float:
    """Return the logit of the frequency for which the focal loss is least at this logit."""
    return _focal_pull(logit) - _focal_pull(-logit)


def _focal_pull(logit: float) -> float:
    """Return the logarithm of how steeply the cost of a negative, -p^GAMMA log(1 - p), rises in p.

    The cost of a positive falls as steeply at -logit.
    """
    log_p, log_q = -np.logaddexp(0.0, -logit), -np.logaddexp(0.0, logit)
    return float(
        np.logaddexp(GAMMA * log_p - log_q, math.log(GAMMA) + (GAMMA - 1) * log_p + np.log(-log_q))
    )


def _focal_tangent(target: float) -> tuple[float, float]:
    low, high = -_MAX_LOGIT, _MAX_LOGIT
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if undo_focal(middle) < target else (low, middle)
    step = 1e-4
    slope = (undo_focal(low + step) - undo_focal(low - step)) / (2 * step)
    return slope, target - slope * low
