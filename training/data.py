"""A data folder -> its label tables, split and image files.

Two layouts are known. NIH: one `Data_Entry*.csv`, or Kaggle's `sample_labels.csv`, with or without
`train_val_list.txt` and `test_list.txt`. One-hot: `train*.csv`, `valid*.csv` and `test*.csv`.
Images lie anywhere below the folder, behind symbolic links too, and are found by the names of the
tables, with or without ending.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.config import TrainConfig
from training.errors import DataError
from training.split import Split, split_by_lists, split_by_patient
from training.table import Row, image_name, read_list, read_table

_LISTS: Final = ("train_val_list.txt", "test_list.txt")
_NAMED_AT_MOST: Final = 5


@dataclass(frozen=True)
class DataFolder:
    """A folder that was read: its split, the file of every image, and which labels they are.

    `label_version` names the tables with the start of their SHA-256, because the columns of a table
    do not tell which edition of the labels it holds. `files` are those of the rows and no others.
    `missing` counts the rows that were left out for want of an image. `tables` are what was read;
    `neighbours` names those that `training.history` softens labels by, empty for none.
    """

    folder: Path
    split: Split
    files: dict[str, Path]
    label_version: str
    missing: int = 0
    tables: tuple[Path, ...] = ()
    neighbours: str = ""


def read_folder(
    folder: Path, config: TrainConfig, *, allow_missing: bool = False, tables_only: bool = False
) -> DataFolder:
    """Read and split a data folder in either layout.

    With `allow_missing`, rows without an image file are left out; with `tables_only`, no image is
    looked for and every row stays. Raises DataError for an unknown layout, a table that is wrong,
    or a missing image file.
    """
    tables = _find_tables(folder)
    parts = [read_table(table) for table in tables]
    named = {row.image for rows in parts for row in rows}
    files = {} if tables_only else _index_images(folder, named)
    total = sum(map(len, parts))
    if not tables_only:
        parts = [_with_files(rows, files, allow_missing) for rows in parts]
    if len(parts) == 1:
        split = _split_nih(folder, parts[0], config)
    else:
        train, validation, test = parts
        split = Split(train, validation, test, "given tables")
    missing = total - sum(map(len, parts))
    return DataFolder(folder, split, files, name_tables(tables), missing, tuple(tables))


def _find_tables(folder: Path) -> list[Path]:
    nih = _glob(folder, "Data_Entry") or _glob(folder, "sample_labels")
    if len(nih) > 1:
        names = ", ".join(path.name for path in nih)
        raise DataError(f"{folder} holds several NIH tables ({names}); keep one.")
    return nih or [_single(folder, start) for start in ("train", "valid", "test")]


def _split_nih(folder: Path, rows: tuple[Row, ...], config: TrainConfig) -> Split:
    train_val, test = (_find_list(folder, name) for name in _LISTS)
    if train_val and test:
        listed = read_list(train_val), read_list(test)
        return split_by_lists(rows, *listed, config.validation_share, config.seed)
    if train_val or test:
        missing = _LISTS[1 if train_val else 0]
        raise DataError(
            f"{folder} has only one of the two official lists: add {missing}, or take the other "
            "away for a random split by patient."
        )
    return split_by_patient(rows, config.validation_share, config.test_share, config.seed)


def _find_list(folder: Path, name: str) -> Path | None:
    candidates = (folder / name, folder / f"{name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def _index_images(folder: Path, named: set[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in walk_files(folder):
        name = image_name(path.name)
        if name in named and path.is_file():
            other = files.setdefault(name, path)
            if other != path:
                raise DataError(f"{other} and {path} are two files of one image.")
    return files


def walk_files(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder, behind symbolic links too, which pathlib passes over."""
    seen = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        place = Path(here).resolve()
        if place in seen:  # a link that leads back up, or to where another led
            folders.clear()
            continue
        seen.add(place)
        folders.sort()
        yield from (Path(here, name) for name in sorted(names))


def _with_files(
    rows: tuple[Row, ...], files: dict[str, Path], allow_missing: bool
) -> tuple[Row, ...]:
    missing = [row.image for row in rows if row.image not in files]
    if missing and not allow_missing:
        named = ", ".join(missing[:_NAMED_AT_MOST]) + (
            ", ..." if len(missing) > _NAMED_AT_MOST else ""
        )
        raise DataError(
            f"{len(missing)} of {len(rows)} images of the table have no file: {named}. "
            "Use --allow-missing to leave them out."
        )
    return tuple(row for row in rows if row.image in files)


def _glob(folder: Path, start: str) -> list[Path]:
    return sorted([*folder.glob(f"{start}*.csv"), *folder.glob(f"{start}*.csv.gz")])


def _single(folder: Path, start: str) -> Path:
    found = _glob(folder, start)
    if len(found) != 1:
        raise DataError(
            f"{folder} has {len(found)} tables {start}*.csv. Expected is one Data_Entry*.csv, or "
            "one each of train*.csv, valid*.csv and test*.csv."
        )
    return found[0]


def name_tables(tables: Sequence[Path]) -> str:
    """Return the names of tables with the start of their SHA-256."""
    return ", ".join(
        f"{path.name} (SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]})"
        for path in tables
    )
