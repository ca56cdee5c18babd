"""Operating points: thresholds chosen on one set of rows and what they give on another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contract.findings import FINDINGS
from training.metrics import Floats, interval, or_none, weigh_shares
from training.patients import Resamples

FIXED_SENSITIVITY: Final = 0.9
FIXED_SPECIFICITY: Final = 0.9
"""Both are conventions, not advice: what a clinic needs depends on what follows a call."""

YOUDEN: Final = "Youden"


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold of one finding: called positive is what reaches it. `rule` says how it came."""

    rule: str
    threshold: float


@dataclass(frozen=True)
class _Curve:
    """Rates and precision at every threshold that parts two probabilities, falling."""

    thresholds: Floats
    sensitivity: Floats
    false_alarms: Floats
    specificity: Floats
    precision: Floats


def choose_points(labels: NDArray[np.generic], probabilities: Floats) -> list[OperatingPoint]:
    """Choose the operating points of one finding from labels and probabilities, [N] each.

    Youden maximises sensitivity + specificity (Youden, 1950), F1 the harmonic mean of sensitivity
    and precision; fixed sensitivity takes the highest threshold that reaches it, fixed specificity
    the lowest. Where no threshold can be chosen it is 0.5 and the rule says why.
    """
    curve = _trace_curve(labels == 1, probabilities)
    if isinstance(curve, str):
        return [OperatingPoint(f"{rule}: {curve}", 0.5) for rule in _RULES]
    places = {rule: choose(curve) for rule, choose in _RULES.items()}
    return [
        OperatingPoint(f"{rule}: 0.5, as no threshold reaches it", 0.5)
        if place is None
        else OperatingPoint(rule, float(curve.thresholds[place]))
        for rule, place in places.items()
    ]


def choose_all_points(
    labels: NDArray[np.generic], probabilities: NDArray[np.floating[Any]]
) -> list[list[OperatingPoint]]:
    """Choose the operating points of every finding from labels and probabilities, [N,14] each."""
    columns = zip(labels.T, probabilities.T.astype(np.float64), strict=True)
    return [choose_points(*column) for column in columns]


def measure_points(
    labels: NDArray[np.generic],
    probabilities: NDArray[np.floating[Any]],
    points: Sequence[Sequence[OperatingPoint]],
    prevalence: Mapping[str, float],
    resamples: Resamples,
) -> list[list[dict[str, Any]]]:
    """Return what every operating point of every finding gives on [N,14], with intervals.

    PPV and NPV follow from sensitivity and specificity by Bayes' rule at `prevalence`, which names
    every finding's share; without it they would tell the make-up of the set instead.
    """
    positive = labels == 1
    # All points side by side, because every product reads all of their weights.
    columns = [(f, point) for f in range(len(FINDINGS)) for point in points[f]]
    if not columns:
        return [[] for _ in FINDINGS]
    called = np.stack([probabilities[:, f] >= point.threshold for f, point in columns], axis=1)
    members = positive[:, [f for f, _ in columns]]
    sensitivity = weigh_shares(resamples, called, members)
    specificity = weigh_shares(resamples, ~called, ~members)
    measured: list[list[dict[str, Any]]] = [[] for _ in FINDINGS]
    for column, (f, point) in enumerate(columns):
        share = prevalence[FINDINGS[f]]
        described = {"rule": point.rule, "threshold": point.threshold, "prevalence": share}
        for name, measure in _MEASURES.items():
            with np.errstate(invalid="ignore", divide="ignore"):
                value, drawn = (
                    measure(se[..., column], sp[..., column], share)
                    for se, sp in zip(sensitivity, specificity, strict=True)
                )
            described[name], described[f"{name}_ci"] = or_none(float(value)), interval(drawn)
        measured[f].append(described)
    return measured


def _trace_curve(positive: NDArray[np.bool_], probabilities: Floats) -> _Curve | str:
    """Return the curve, or why there is none.

    Thresholds lie midway between two probabilities that occur, so that rounding in another engine
    does not turn a call over.
    """
    if positive.all() or not positive.any():
        return "0.5, as there is only one class"
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    steps = np.flatnonzero(ranked[1:] < ranked[:-1])
    if not len(steps):
        return "0.5, as all probabilities are equal"
    true, false = np.cumsum(positive[order]), np.cumsum(~positive[order])
    return _Curve(
        (ranked[steps] + ranked[steps + 1]) / 2,
        true[steps] / true[-1],
        false[steps] / false[-1],
        (false[-1] - false[steps]) / false[-1],
        true[steps] / (steps + 1),
    )


def _best_f1(curve: _Curve) -> int:
    total = np.maximum(curve.sensitivity + curve.precision, np.finfo(np.float64).tiny)
    return int(np.argmax(curve.sensitivity * curve.precision / total))


def _reach_sensitivity(curve: _Curve) -> int | None:
    reached = np.flatnonzero(curve.sensitivity >= FIXED_SENSITIVITY)
    return int(reached[0]) if len(reached) else None


def _reach_specificity(curve: _Curve) -> int | None:
    reached = np.flatnonzero(curve.specificity >= FIXED_SPECIFICITY)
    return int(reached[-1]) if len(reached) else None


_RULES: Final[Mapping[str, Callable[[_Curve], int | None]]] = {
    # The sum that chose a bundle's thresholds, to the last bit: rounded otherwise, ties fall apart.
    YOUDEN: lambda curve: int(np.argmax(curve.sensitivity - curve.false_alarms)),
    "F1": _best_f1,
    f"sensitivity {FIXED_SENSITIVITY}": _reach_sensitivity,
    f"specificity {FIXED_SPECIFICITY}": _reach_specificity,
}

_MEASURES: Final[Mapping[str, Callable[[Any, Any, float], Any]]] = {
    "sensitivity": lambda sensitivity, _, __: sensitivity,
    "specificity": lambda _, specificity, __: specificity,
    "ppv": lambda se, sp, share: se * share / (se * share + (1 - sp) * (1 - share)),
    "npv": lambda se, sp, share: sp * (1 - share) / (sp * (1 - share) + (1 - se) * share),
}
