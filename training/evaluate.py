"""Probabilities of one set of rows -> a report with intervals, ready for JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.findings import FINDINGS
from training.metrics import (
    interval,
    mean_calibration_error,
    mean_defined,
    mean_resampled,
    or_none,
    rank_findings,
)
from training.operating import OperatingPoint, measure_points
from training.patients import resample_patients
from training.reliability import measure_calibration
from training.subgroups import measure_subgroups
from training.table import Row, stack_labels


def evaluate(
    rows: Sequence[Row],
    probabilities: NDArray[np.floating[Any]],
    thresholds: Sequence[float],
    resamples: int,
    seed: int,
    *,
    points: Sequence[Sequence[OperatingPoint]] | None = None,
    prevalence: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Measure calibrated probabilities [N,14] of rows at the thresholds of their findings.

    `points` are further operating points per finding, chosen elsewhere; `prevalence` is the share
    of images with a finding at which PPV and NPV are stated, that of these rows where it is not
    given. Intervals are 95 % percentiles over resamples of patients, those of a mean over resamples
    that define it for all its findings. What is undefined, as AUROC without a positive or an
    interval from fewer than MIN_PATIENTS, is None.
    """
    labels = stack_labels(rows)
    scores = np.asarray(probabilities, np.float64)
    draws = resample_patients(np.array([row.patient for row in rows]), resamples, seed)
    whole, resampled = rank_findings(labels, scores, draws)
    shares = {
        **dict(zip(FINDINGS, labels.mean(axis=0).tolist(), strict=True)),
        **(prevalence or {}),
    }
    measured = measure_points(labels, scores, points or [[]] * len(FINDINGS), shares, draws)
    return {
        "images": len(rows),
        "patients": len({row.patient for row in rows}),
        "resamples": resamples,
        "macro_auroc": or_none(mean_defined(whole[:, 0])),
        "macro_auroc_ci": interval(mean_resampled(resampled[:, :, 0], whole[:, 0])),
        "macro_auprc": or_none(mean_defined(whole[:, 1])),
        "macro_auprc_ci": interval(mean_resampled(resampled[:, :, 1], whole[:, 1])),
        "ece": mean_calibration_error(labels, scores),
        "brier": float(np.mean((scores - labels) ** 2)),
        "findings": [
            {
                "name": name,
                "positives": int(labels[:, f].sum()),
                "auroc": or_none(whole[f, 0]),
                "auroc_ci": interval(resampled[:, f, 0]),
                "auprc": or_none(whole[f, 1]),
                "auprc_ci": interval(resampled[:, f, 1]),
                "threshold": float(thresholds[f]),
                **_rates(labels[:, f], scores[:, f] >= thresholds[f]),
                **measure_calibration(labels[:, f].astype(float), scores[:, f], draws),
                "operating_points": measured[f],
            }
            for f, name in enumerate(FINDINGS)
        ],
        "subgroups": measure_subgroups(rows, scores, draws),
    }


def format_report(report: dict[str, Any]) -> str:
    """Return a report as a table for people."""
    lines = [f"{'':20}{'AUROC':>7}  {'95 % interval':15}{'AUPRC':>6}{'positive':>10}"]
    for finding in report["findings"]:
        low_high = _format_interval(finding["auroc_ci"])
        auroc, auprc = digits(finding["auroc"]), digits(finding["auprc"])
        name, positives = finding["name"], finding["positives"]
        lines.append(f"{name:20}{auroc:>7}  {low_high:15}{auprc:>6}{positives:>10}")
    macro, low_high = (
        digits(report["macro_auroc"]),
        _format_interval(report["macro_auroc_ci"]),
    )
    lines.append(f"{'macro':20}{macro:>7}  {low_high:15}{digits(report['macro_auprc']):>6}")
    lines.append(
        f"{report['images']} images of {report['patients']} patients, ECE {report['ece']:.3f}, "
        f"Brier {report['brier']:.3f}"
    )
    return "\n".join(lines)


def _rates(labels: NDArray[np.int_], called: NDArray[np.bool_]) -> dict[str, float | None]:
    positive = labels == 1
    return {
        "sensitivity": float(called[positive].mean()) if positive.any() else None,
        "specificity": float((~called[~positive]).mean()) if (~positive).any() else None,
    }


def digits(value: float | None) -> str:
    """Three digits; a dash for what is not measured."""
    return "-" if value is None else f"{value:.3f}"


def _format_interval(bounds: list[float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"
