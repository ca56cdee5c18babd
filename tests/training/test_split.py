import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from contract.findings import FINDINGS
from training.config import read_config
from training.data import read_folder
from training.errors import DataError, LeakageError
from training.split import check_leakage, split_by_lists, split_by_patient
from training.table import Row

NAMES = ("train", "validation", "test")


def row(patient: int, image: int = 0) -> Row:
    return Row(f"{patient:08}_{image:03}", str(patient), (0,) * len(FINDINGS))


@pytest.mark.parametrize("pair", [(0, 1), (0, 2), (1, 2)])
def test_a_patient_in_any_two_sets_is_found_and_named(pair: tuple[int, int]) -> None:
    parts = [[row(part), row(part + 10)] for part in range(3)]
    for place in pair:
        parts[place].append(row(77, image=place))
    first, second = (NAMES[place] for place in pair)
    with pytest.raises(LeakageError, match=f"both {first} and {second}: 77"):
        check_leakage(dict(zip(NAMES, parts, strict=True)))


def test_leaks_between_all_three_pairs_are_named_at_once() -> None:
    parts = [[row(part), row(part + 10), row(77, image=part)] for part in range(3)]
    with pytest.raises(LeakageError) as raised:
        check_leakage(dict(zip(NAMES, parts, strict=True)))
    for pair in ("train and validation", "train and test", "validation and test"):
        assert f"1 patient is in both {pair}: 77." in str(raised.value)


def test_an_image_under_two_patients_is_found() -> None:
    stolen = Row(row(1).image, "2", row(1).labels)
    with pytest.raises(LeakageError, match="1 image is in both train and test"):
        check_leakage({"train": [row(1)], "validation": [row(3)], "test": [stolen]})


def test_a_patient_whose_number_is_written_in_three_ways_is_found(tmp_path: Path) -> None:
    for name, patient in (("train", "13.0"), ("valid", "13"), ("test", "00000013")):
        header = ",".join(["Image", *FINDINGS, "PatientId"])
        bits = ",".join("0" for _ in FINDINGS)
        (tmp_path / f"{name}.csv").write_text(f"{header}\n{name}.png,{bits},{patient}\n")
    with pytest.raises(LeakageError) as raised:
        read_folder(tmp_path, read_config("demo"), tables_only=True)
    assert str(raised.value).count(": 13.") == 3


def test_random_split_keeps_each_patient_whole_and_every_image_once() -> None:
    rows = [row(patient, image) for patient in range(50) for image in range(3)]
    split = split_by_patient(rows, validation_share=0.2, test_share=0.2, seed=4)
    assert [len(part) for part in split.parts().values()] == [96, 24, 30]
    assert sorted(itertools.chain(*split.parts().values()), key=str) == sorted(rows, key=str)


def test_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    rows = [row(patient) for patient in range(50)]
    hashes = [split_by_patient(rows, 0.2, 0.2, seed).sha256() for seed in (4, 4, 5)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_split_is_the_same_in_every_process_and_for_every_order_of_the_rows() -> None:
    """The order of a set of patients is another one in every process."""
    rows = [row(patient, image) for patient in range(50) for image in range(2)]
    for given in (rows, rows[::-1]):
        split = split_by_patient(given, validation_share=0.27, test_share=0.35, seed=4)
        assert split.sha256().startswith("f3cfbf0774314ddd")
    assert [len(part) for part in split.parts().values()] == [46, 18, 36]


def test_hash_of_a_split_tells_labels_apart() -> None:
    split = split_by_patient([row(patient) for patient in range(20)], 0.2, 0.2, seed=4)
    one, *others = split.train
    changed = replace(split, train=(replace(one, labels=(1, *one.labels[1:])), *others))
    assert changed.sha256() != split.sha256()


@pytest.mark.parametrize(("shares", "name"), [((0.0, 0.2), "validation"), ((0.2, 0.0), "test")])
def test_split_with_an_empty_set_is_refused(shares: tuple[float, float], name: str) -> None:
    with pytest.raises(DataError, match=f"The {name} set is empty"):
        split_by_patient([row(patient) for patient in range(20)], *shares, seed=4)


def test_lists_that_share_a_patient_are_refused() -> None:
    rows = [row(patient, image) for patient in range(20) for image in range(2)]
    test = frozenset({row(3, image=1).image})
    train_val = frozenset(one.image for one in rows) - test
    with pytest.raises(LeakageError, match=": 3"):
        split_by_lists(rows, train_val, test, validation_share=0.2, seed=1)


def test_row_on_no_list_is_named() -> None:
    rows = [row(1), row(2)]
    with pytest.raises(DataError, match="'00000002_000' is neither"):
        split_by_lists(rows, frozenset({rows[0].image}), frozenset(), 0.2, 1)


def test_real_folder_is_split_by_its_official_lists(xrays: Path) -> None:
    split = read_folder(xrays, read_config("demo")).split
    assert split.rule.startswith("official lists")
    assert (len(split.train) + len(split.validation), len(split.test)) == (2_778, 758)
