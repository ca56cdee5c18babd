"""Labels softened by those of the patient's neighbouring images."""

import csv
import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.findings import FINDINGS
from tests.training.conftest import SmokeRun, call
from training.config import TrainConfig, read_config
from training.data import read_folder
from training.facts import config_for_facts
from training.history import REACH, add_history, soften, without_untold_history
from training.table import Row, stack_labels

SOFT = read_config("smoke", ["history_share=0.4"])
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
)


def row(followup: int | None, *found: str, patient: str = "1") -> Row:
    labels = tuple(int(finding in found) for finding in FINDINGS)
    return Row(f"{patient}_{followup}", patient, labels, followup=followup)


def history(one: Row) -> dict[str, float]:
    assert one.history is not None
    return {f: round(share, 6) for f, share in zip(FINDINGS, one.history, strict=True) if share}


def test_every_neighbour_counts_like_the_others() -> None:
    here = row(4, "Edema")
    told = [here, row(2, "Mass"), row(5, "Mass", "Hernia"), row(7), row(1, "Mass")]
    (told_of,) = add_history([here], told)
    assert history(told_of) == {"Mass": 0.75, "Hernia": 0.25}
    assert replace(told_of, history=None) == here


def test_images_further_away_and_of_others_do_not_count() -> None:
    here = row(4, "Mass")
    far = [row(4 + REACH + 1, "Edema"), row(4 - REACH - 1, "Edema")]
    others = [row(3, "Edema", patient="2"), row(5, "Edema", patient="2")]
    assert add_history([here], [here, *far, *others]) == (here,)
    assert history(add_history([here], [*far, row(4 + REACH, "Hernia")])[0]) == {"Hernia": 1.0}


def test_rows_whose_followup_is_not_told_stay_and_tell_nothing() -> None:
    untold, here = row(None, "Mass"), row(0, "Edema")
    assert add_history([untold, here], [untold, here]) == (untold, here)


def test_labels_are_softened_by_the_share_of_the_neighbours() -> None:
    alone, among = row(0, "Mass"), add_history([row(1, "Edema")], [row(0, "Mass")])[0]
    mass, edema = FINDINGS.index("Mass"), FINDINGS.index("Edema")
    softened = soften([alone, among], 0.4)
    assert softened.dtype == np.float32
    assert softened[:, [mass, edema]].tolist() == pytest.approx(np.array([[1, 0], [0.4, 0.6]]))
    assert np.array_equal(soften([alone, among], 0.0), stack_labels([alone, among]))


def test_network_learns_softened_labels(smoke: SmokeRun, tmp_path: Path) -> None:
    from training.fit import fit

    contradicted = [
        replace(one, history=tuple(1.0 - label for label in one.labels))
        for one in smoke.data.split.train[:32]
    ]
    losses = []
    for share in (0.0, 0.9):
        run = tmp_path / f"{share}"
        run.mkdir()
        fit(replace(smoke.config, history_share=share), contradicted, (), smoke.cache, run)
        (first, *_) = csv.DictReader((run / "history.csv").read_text().splitlines())
        losses.append(float(first["loss"]))
    # It begins from how frequent findings are, so what says the opposite is far from it.
    assert losses[1] > 3 * losses[0]


def test_facts_of_the_patient_are_learnt_as_they_are() -> None:
    config = replace(SOFT, fact_epochs=2)
    assert config_for_facts(config).history_share == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Lay out a table of three patients with lists, and a table of all their images below."""
    of_mine = ["1_000.png,Mass,0,1,50,F,PA", "2_000.png,No Finding,0,2,50,F,PA"]
    of_mine += ["3_000.png,Edema,0,3,50,F,PA"]
    further = ["1_001.png,Edema,1,1,50,F,PA", "3_001.png,Mass,1,3,50,F,PA"]
    (tmp_path / "Data_Entry_mine.csv").write_text("\n".join([HEADER, *of_mine]))
    (tmp_path / "train_val_list.txt").write_text("1_000.png\n2_000.png\n")
    (tmp_path / "test_list.txt").write_text("3_000.png\n")
    (tmp_path / "official").mkdir()
    with gzip.open(tmp_path / "official" / "Data_Entry_2017.csv.gz", "wt") as file:
        file.write("\n".join([HEADER, *of_mine, *further]))
    return tmp_path


def read(folder: Path, config: TrainConfig) -> dict[str, Row]:
    split = read_folder(folder, replace(config, validation_share=0.5), tables_only=True).split
    return {one.image: one for rows in split.parts().values() for one in rows}


def test_tables_below_the_folder_tell_of_images_that_are_not_in_it(folder: Path) -> None:
    rows = read(folder, SOFT)
    assert history(rows["1_000"]) == {"Edema": 1.0}
    assert rows["2_000"].history is None
    assert rows["3_000"].history is None, "test images are only judged"
    assert all(one.history is None for one in read(folder, read_config("smoke")).values())


def test_tables_that_tell_of_neighbours_are_named_and_the_split_is_the_same(folder: Path) -> None:
    config = replace(SOFT, validation_share=0.5)
    soft = read_folder(folder, config, tables_only=True)
    hard = read_folder(folder, replace(config, history_share=0.0), tables_only=True)
    assert soft.split.sha256() == hard.split.sha256()
    assert soft.label_version.startswith(f"{hard.label_version}, Data_Entry_2017.csv.gz (SHA-256 ")


def test_share_for_neighbours_is_left_out_with_a_word_where_there_are_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    alone, among = row(0, "Mass"), add_history([row(1, "Edema")], [row(0, "Mass")])[0]
    assert without_untold_history(SOFT, [alone, among]) == SOFT
    assert "Labels of 1 of 2 images are softened" in capsys.readouterr().out
    assert without_untold_history(SOFT, [alone]).history_share == 0
    assert "No image has a neighbour" in capsys.readouterr().out
    assert without_untold_history(read_config("smoke"), [alone]) == read_config("smoke")
    assert capsys.readouterr().out == ""


def test_table_without_followups_trains_all_the_same(drawn_folder: Path, tmp_path: Path) -> None:
    options = ["--profile", "smoke", "--set", "epochs=1", "--set", "bootstrap_resamples=5"]
    options += ["--set", "warmup_epochs=0", "--set", "history_share=0.4"]
    paths = ["--data", drawn_folder, "--run", tmp_path / "run", "--out", tmp_path / "models"]
    assert call("train", *paths, "--cache", tmp_path / "cache", *options) == 0
    assert "softened" not in (tmp_path / "models" / "1" / "assets.extra" / "card.md").read_text()
