"""Rows -> train, validation and test, never with one patient on two sides."""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from training.errors import DataError, LeakageError
from training.table import Row

SplitName = Literal["train", "validation", "test"]
OFFICIAL: Final = "official lists, validation by patient"
RANDOM: Final = "random by patient"
"""The rule of a split that another row more or less draws anew, for test too."""

_NAMED_AT_MOST: Final = 10


@dataclass(frozen=True)
class Split:
    """Three sets of rows without a shared patient; `rule` says how they were made."""

    train: tuple[Row, ...]
    validation: tuple[Row, ...]
    test: tuple[Row, ...]
    rule: str

    def __post_init__(self) -> None:
        """Raise DataError for an empty set and LeakageError for a shared patient or image."""
        for name, rows in self.parts().items():
            if not rows:
                raise DataError(f"The {name} set is empty ({self.rule}).")
        check_leakage(self.parts())

    def parts(self) -> dict[SplitName, tuple[Row, ...]]:
        """Return the three sets by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def sha256(self) -> str:
        """Return a hash of which image of which patient with which labels is in which set."""
        lines = sorted(
            f"{name} {row.image} {row.patient} {''.join(map(str, row.labels))}\n"
            for name, rows in self.parts().items()
            for row in rows
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_leakage(parts: Mapping[SplitName, Sequence[Row]]) -> None:
    """Raise LeakageError, naming them for every pair of sets that share patients or images."""
    found = [
        leak
        for pair in itertools.combinations(parts.items(), 2)
        for what in ("patient", "image")
        if (leak := _describe_leak(what, *pair))
    ]
    if found:
        raise LeakageError(" ".join(found))


def _describe_leak(
    what: str, one: tuple[SplitName, Sequence[Row]], other: tuple[SplitName, Sequence[Row]]
) -> str | None:
    (name_a, rows_a), (name_b, rows_b) = one, other
    shared = {getattr(row, what) for row in rows_a} & {getattr(row, what) for row in rows_b}
    if not shared:
        return None
    named = ", ".join(sorted(shared)[:_NAMED_AT_MOST])
    more = ", ..." if len(shared) > _NAMED_AT_MOST else ""
    are = "s are" if len(shared) > 1 else " is"
    return f"{len(shared)} {what}{are} in both {name_a} and {name_b}: {named}{more}."


def split_by_lists(
    rows: Sequence[Row],
    train_val: frozenset[str],
    test: frozenset[str],
    validation_share: float,
    seed: int,
) -> Split:
    """Split by the official lists of image names; a share of train_val's patients validates.

    Names that no row has are passed over, because the lists also cover images that a partial copy
    lacks. Raises DataError for a row that is on no list, LeakageError where the lists leak.
    """
    listed = train_val | test
    stray = next((row.image for row in rows if row.image not in listed), None)
    if stray:
        raise DataError(f"Image {stray!r} is neither on the train_val nor on the test list.")
    learn = [row for row in rows if row.image in train_val]
    train, validation = _divide_patients(learn, validation_share, seed)
    tested = tuple(row for row in rows if row.image in test)
    return Split(train, validation, tested, OFFICIAL)


def split_by_patient(
    rows: Sequence[Row], validation_share: float, test_share: float, seed: int
) -> Split:
    """Split patients at random: `test_share` of all to test, `validation_share` of the rest."""
    learn, test = _divide_patients(rows, test_share, seed)
    train, validation = _divide_patients(learn, validation_share, seed)
    return Split(train, validation, test, RANDOM)


def assign_folds(rows: Sequence[Row], folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of every row, 0 to folds - 1, [N]; all rows of a patient are in one.

    Raises DataError where there are fewer patients than folds.
    """
    patients, owner = np.unique([row.patient for row in rows], return_inverse=True)
    if len(patients) < folds:
        raise DataError(f"{folds} folds of {len(patients)} patients: some would be empty.")
    return np.random.default_rng(seed).permutation(len(patients))[owner] % folds


def _divide_patients(
    rows: Sequence[Row], share: float, seed: int
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    patients = sorted({row.patient for row in rows})
    order = np.random.default_rng(seed).permutation(len(patients))
    taken = {patients[i] for i in order[: round(share * len(patients))]}
    kept = tuple(row for row in rows if row.patient not in taken)
    return kept, tuple(row for row in rows if row.patient in taken)
