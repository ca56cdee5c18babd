"""Labels softened by those of the patient's images shortly before and after.

A finding seldom comes and goes between two examinations, while the reports that labels are read out
of leave findings out and name doubtful ones. So neighbours tell something of an image. They need no
file: a table alone may tell of them.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.config import TrainConfig
from training.table import Row, stack_labels

REACH: Final = 3
"""Follow-ups before and after an image within which others of the patient are its neighbours."""


def add_history(rows: Sequence[Row], told: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows with the mean labels of their neighbours as `history`.

    Those are the images of the same patient in `told` that are at most REACH follow-ups away. A row
    without any, or whose follow-up is not told, is returned as it is.
    """
    of_patient: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in told:
        if row.followup is not None:
            of_patient[row.patient].setdefault(row.followup, row)
    return tuple(_add_history(row, of_patient[row.patient]) for row in rows)


def _add_history(row: Row, followups: dict[int, Row]) -> Row:
    if row.followup is None:
        return row
    near = range(row.followup - REACH, row.followup + REACH + 1)
    neighbours = [
        followups[number] for number in near if number != row.followup and number in followups
    ]
    if not neighbours:
        return row
    return replace(row, history=tuple(stack_labels(neighbours).mean(axis=0).tolist()))


def soften(rows: Sequence[Row], share: float) -> NDArray[np.float32]:
    """Return labels to learn, float32[N,14], of which the neighbours make up `share`.

    A row without neighbours keeps its own.
    """
    labels = stack_labels(rows)
    history = np.array([row.history or row.labels for row in rows])
    softened: NDArray[np.float32] = ((1 - share) * labels + share * history).astype(np.float32)
    return softened


def without_untold_history(config: TrainConfig, rows: Sequence[Row]) -> TrainConfig:
    """Return the config without its share for neighbours where no row has any; say which it is."""
    if not config.history_share:
        return config
    count = sum(row.history is not None for row in rows)
    if count:
        print(f"Labels of {count} of {len(rows)} images are softened by those of neighbours.")
        return config
    print("No image has a neighbour whose labels are told, so labels are learnt as they are.")
    return replace(config, history_share=0.0)
