"""The same measures for women and men, ages and views."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contract.findings import FINDINGS
from training.metrics import interval, mean_defined, mean_resampled, or_none, rank_findings
from training.patients import Resamples
from training.table import Row, stack_labels

AGE_BANDS: Final = ((0, 17), (18, 39), (40, 59), (60, 79), (80, 120))
"""First and last year of each band."""

MEANS_NOTE: Final = "Means over different findings do not compare."


def age_band(row: Row) -> str | None:
    """Return the band of a row's age, as `40 to 59`; None where no age is told."""
    if row.age is None:
        return None
    low, high = next(band for band in AGE_BANDS if row.age <= band[1])
    return f"{low} to {high}"


GROUPINGS: Final[Mapping[str, Callable[[Row], str | None]]] = {
    "sex": lambda row: row.sex,
    "age": age_band,
    "view": lambda row: row.view,
}


def measure_subgroups(
    rows: Sequence[Row],
    probabilities: NDArray[np.floating[Any]],
    resamples: Resamples,
) -> dict[str, list[dict[str, Any]]]:
    """Return AUROC with intervals in every group of sex, age and view that the table tells.

    `resamples` are those of the whole set, so that groups are resampled together. A
    finding without both classes in a group has no AUROC there and no part in the group's mean. One
    that too few patients have, or lack, has no interval; then the mean has none either.
    """
    return {
        name: [
            {"group": group, **_measure_group(rows, probabilities, resamples, members)}
            for group, members in _list_groups([choose(row) for row in rows])
        ]
        for name, choose in GROUPINGS.items()
    }


def _list_groups(values: list[str | None]) -> list[tuple[str, NDArray[np.intp]]]:
    told = np.array([value or "" for value in values])
    bands = [f"{low} to {high}" for low, high in AGE_BANDS]
    names = sorted(
        set(told) - {""}, key=lambda name: (bands.index(name) if name in bands else 0, name)
    )
    return [(str(name), np.flatnonzero(told == name)) for name in names]


def _measure_group(
    rows: Sequence[Row],
    probabilities: NDArray[np.floating[Any]],
    resamples: Resamples,
    members: NDArray[np.intp],
) -> dict[str, Any]:
    labels = stack_labels([rows[n] for n in members])
    ranked = rank_findings(labels, probabilities[members], resamples.of(members))
    whole, drawn = (measured[..., 0] for measured in ranked)
    return {
        "images": len(members),
        "patients": len({rows[n].patient for n in members}),
        "findings_measured": int((~np.isnan(whole)).sum()),
        "macro_auroc": or_none(mean_defined(whole)),
        "macro_auroc_ci": interval(mean_resampled(drawn, whole)),
        "findings": [
            {
                "name": name,
                "positives": int(labels[:, f].sum()),
                "auroc": or_none(whole[f]),
                "auroc_ci": interval(drawn[:, f]),
            }
            for f, name in enumerate(FINDINGS)
        ],
    }
