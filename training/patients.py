"""Whether there are enough patients for an interval."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

MIN_PATIENTS: Final = 5
"""With fewer patients who have a finding, or who lack it, its measures have no interval.

Resamples only repeat the few that are there. Around an AUROC of 0.75, intervals that should cover
it in 95 of 100 samples do so in 9 with one positive patient, 54 with 2, 72 with 3, 82 with 4 or 5,
87 with 6, 91 with 10. A mean over 14 findings, one of them that rare, is covered in 46 with one, 80
with 2, 85 with 3, 91 with 5.
"""

_RESAMPLES: Final = 32
"""So many tell patients apart: two of them are drawn alike in all with a chance of 1 in 10^16."""


def are_few(weights: NDArray[np.float32], members: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return for each column of members [N,K] whether they are of fewer than MIN_PATIENTS, [K].

    Whose image is whose is seen in `weights` [N,resamples] of `draw_patient_weights`: images of one
    patient are drawn together, and so weigh the same.
    """
    _, patients = np.unique(weights[:, :_RESAMPLES], axis=0, return_inverse=True)
    return np.array([len(np.unique(patients[one])) < MIN_PATIENTS for one in members.T])
