"""Bootstrap over patients, and whether there are enough of them for an interval."""

from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

MIN_PATIENTS: Final = 5
"""With fewer patients who have a finding, or who lack it, its measures have no interval.

Resamples only repeat the few that are there. Around an AUROC of 0.75, intervals that should cover
it in 95 of 100 samples do so in 9 with one positive patient, 54 with 2, 72 with 3, 82 with 4 or 5,
87 with 6, 91 with 10. A mean over 14 findings, one of them that rare, is covered in 46 with one, 80
with 2, 85 with 3, 91 with 5.
"""


class Resamples(NamedTuple):
    """`owner` int[N]: whose image it is; `weights` float32[N,R]: how often each resample has it."""

    owner: NDArray[np.intp]
    weights: NDArray[np.float32]

    def of(self, members: NDArray[np.intp]) -> Self:
        """Return the same resamples of some of the images, given by their places."""
        return type(self)(self.owner[members], self.weights[members])


def resample_patients(patients: NDArray[np.generic], count: int, seed: int) -> Resamples:
    """Draw `count` bootstrap resamples of the patients [N] of images.

    Patients are drawn, not images: images of one patient resemble each other, and drawing them
    singly would make the intervals too narrow.
    """
    _, owner = np.unique(patients, return_inverse=True)
    people = int(owner.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = [np.bincount(rng.integers(0, people, people), minlength=people) for _ in range(count)]
    return Resamples(owner, np.stack(drawn, axis=1).astype(np.float32)[owner])


def are_few(owner: NDArray[np.intp], members: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return for each column of members [N,K] whether they are of fewer than MIN_PATIENTS, [K]."""
    return np.array([len(np.unique(owner[one])) < MIN_PATIENTS for one in members.T])
