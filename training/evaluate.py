"""Probabilities of one set of rows -> a report with intervals, ready for JSON."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.findings import FINDINGS
from training.metrics import (
    Ranker,
    draw_patient_weights,
    interval,
    mean_calibration_error,
    mean_defined,
)
from training.table import Row


def evaluate(
    rows: Sequence[Row],
    probabilities: NDArray[np.floating[Any]],
    thresholds: Sequence[float],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Measure calibrated probabilities [N,14] of rows at the thresholds of their findings.

    Intervals are 95 % percentiles over resamples of patients. What is undefined, as AUROC without a
    positive, is None.
    """
    labels = np.array([row.labels for row in rows])
    patients = np.array([row.patient for row in rows])
    weights = draw_patient_weights(patients, resamples, seed)
    rankers = [Ranker(labels[:, f], probabilities[:, f]) for f in range(len(FINDINGS))]
    whole = np.array([ranker.measure() for ranker in rankers])
    resampled = np.array([[ranker.measure(drawn) for ranker in rankers] for drawn in weights])
    return {
        "images": len(rows),
        "patients": len(set(patients)),
        "macro_auroc": _or_none(mean_defined(whole[:, 0])),
        "macro_auroc_ci": interval(np.array([mean_defined(one) for one in resampled[:, :, 0]])),
        "ece": mean_calibration_error(labels, probabilities),
        "brier": float(np.mean((probabilities - labels) ** 2)),
        "findings": [
            {
                "name": name,
                "positives": int(labels[:, f].sum()),
                "auroc": _or_none(whole[f, 0]),
                "auroc_ci": interval(resampled[:, f, 0]),
                "auprc": _or_none(whole[f, 1]),
                "auprc_ci": interval(resampled[:, f, 1]),
                "threshold": thresholds[f],
                **_rates(labels[:, f], probabilities[:, f] >= thresholds[f]),
            }
            for f, name in enumerate(FINDINGS)
        ],
    }


def format_report(report: dict[str, Any]) -> str:
    """Return a report as a table for people."""
    lines = [f"{'':20}{'AUROC':>7}  {'95 % interval':15}{'AUPRC':>6}{'positive':>10}"]
    for finding in report["findings"]:
        low_high = _format_interval(finding["auroc_ci"])
        auroc, auprc = _format(finding["auroc"]), _format(finding["auprc"])
        name, positives = finding["name"], finding["positives"]
        lines.append(f"{name:20}{auroc:>7}  {low_high:15}{auprc:>6}{positives:>10}")
    macro, low_high = _format(report["macro_auroc"]), _format_interval(report["macro_auroc_ci"])
    lines.append(f"{'macro':20}{macro:>7}  {low_high:15}")
    lines.append(
        f"{report['images']} images of {report['patients']} patients, ECE {report['ece']:.3f}"
    )
    return "\n".join(lines)


def _rates(labels: NDArray[np.int_], called: NDArray[np.bool_]) -> dict[str, float | None]:
    positive = labels == 1
    return {
        "sensitivity": float(called[positive].mean()) if positive.any() else None,
        "specificity": float((~called[~positive]).mean()) if (~positive).any() else None,
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _format_interval(bounds: list[float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"
