"""Whether one of two sets of predictions is better, and how surely, on the same radiographs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.findings import FINDINGS
from training.metrics import (
    Floats,
    interval,
    mean_defined,
    mean_resampled,
    or_none,
    rank_findings,
)
from training.patients import Resamples, resample_patients
from training.table import Row, stack_labels

_MEASURES = ("auroc", "auprc")


def compare(
    rows: Sequence[Row],
    first: NDArray[np.floating[Any]],
    second: NDArray[np.floating[Any]],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Return the differences second - first in AUROC and AUPRC, of probabilities [N,14] each.

    Paired: both are measured on the same resample of patients, so what makes a resample hard for
    both cancels out. `share_above_zero` is the share of resamples in which the second is better,
    ties counting half; it and the interval are None where fewer than MIN_PATIENTS have a finding,
    or lack it.
    """
    labels = stack_labels(rows)
    draws = resample_patients(np.array([row.patient for row in rows]), resamples, seed)
    whole, drawn = zip(*(_measure(labels, one, draws) for one in (first, second)), strict=True)
    names = ["macro", *FINDINGS]
    positives = [None, *labels.sum(axis=0).tolist()]
    return {
        "images": len(rows),
        "patients": len({row.patient for row in rows}),
        "resamples": resamples,
        "findings": [
            {
                "name": name,
                "positives": positives[n],
                **{
                    measure: _describe(
                        *(one[n, m] for one in whole), *(one[:, n, m] for one in drawn)
                    )
                    for m, measure in enumerate(_MEASURES)
                },
            }
            for n, name in enumerate(names)
        ],
    }


def format_comparison(comparison: dict[str, Any], first: str, second: str) -> str:
    """Return a comparison as a table of AUROC for people."""
    lines = [
        f"A: {first}\nB: {second}",
        f"{'AUROC':20}{'A':>7}{'B':>8}{'B - A':>9}  {'95 % interval':18}{'B better in':>12}",
    ]
    for finding in comparison["findings"]:
        measured = finding["auroc"]
        if measured["difference"] is None:
            lines.append(f"{finding['name']:20}{'-':>7}{'-':>8}")
            continue
        line = (
            f"{finding['name']:20}{measured['first']:>7.3f}{measured['second']:>8.3f}"
            f"{_sign(measured['difference']):>9}"
        )
        if measured["difference_ci"] is not None:
            low, high = measured["difference_ci"]
            line += f"  {f'{_sign(low)} to {_sign(high)}':18}{measured['share_above_zero']:>12.1%}"
        lines.append(line)
    lines.append(
        f"{comparison['images']} images of {comparison['patients']} patients, "
        f"{comparison['resamples']} paired resamples of patients"
    )
    return "\n".join(lines)


def _sign(value: float) -> str:
    # Rounded first: a last bit below zero is no fall, and would show as -0.000.
    return f"{round(value, 3) + 0.0:+.3f}"


def _measure(
    labels: NDArray[np.int_], probabilities: NDArray[np.floating[Any]], draws: Resamples
) -> tuple[Floats, Floats]:
    """Return AUROC and AUPRC of macro and every finding, [15,2], and resampled, [R,15,2]."""
    whole, drawn = rank_findings(labels, probabilities, draws)
    macro = [mean_defined(column) for column in whole.T]
    means = [mean_resampled(drawn[:, :, m], whole[:, m]) for m in range(len(_MEASURES))]
    macro_drawn = np.stack(means, axis=1)[:, np.newaxis]
    return np.concatenate([[macro], whole]), np.concatenate([macro_drawn, drawn], axis=1)


def _describe(first: float, second: float, first_drawn: Floats, second_drawn: Floats) -> Any:
    differences = second_drawn - first_drawn
    defined = differences[~np.isnan(differences)]
    return {
        "first": or_none(first),
        "second": or_none(second),
        "difference": or_none(second - first),
        "difference_ci": interval(differences),
        "share_above_zero": float((1 + np.sign(defined)).mean() / 2) if len(defined) else None,
    }
