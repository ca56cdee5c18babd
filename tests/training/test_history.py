"""Labels softened by those of the patient's neighbouring images."""

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.findings import FINDINGS
from tests.training.conftest import BareRun, SmokeRun
from training.config import TrainConfig, read_config
from training.data import DataFolder, read_folder
from training.errors import RunError
from training.facts import ask_facts
from training.history import REACH, add_history, find_history, soften
from training.record import NEIGHBOURS, RECORD, describe_data
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
    told = replace(row(0), age=50, sex="F", view="PA", history=(0.5,) * len(FINDINGS))
    assert ask_facts([told])[0].history is None


def test_images_of_one_followup_are_neighbours_and_one_in_two_tables_counts_once() -> None:
    front, again = row(3, "Mass"), replace(row(3, "Edema"), image="1_3b")
    (told_of,) = add_history([front], [front, again, replace(again, labels=front.labels)])
    assert history(told_of) == {"Edema": 1.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Lay out a table of three patients with lists, and a table of all their images below."""
    of_mine = ["1_000.png,Mass,0,1,50,F,PA", "2_000.png,No Finding,0,2,50,F,PA"]
    of_mine += ["3_000.png,Edema,0,3,50,F,PA"]
    further = ["1_001.png,Edema,1,1,50,F,PA", "3_001.png,Mass,1,3,50,F,PA"]
    write_table(tmp_path / "Data_Entry_mine.csv", *of_mine)
    (tmp_path / "train_val_list.txt").write_text("1_000.png\n2_000.png\n")
    (tmp_path / "test_list.txt").write_text("3_000.png\n")
    (tmp_path / "official").mkdir()
    write_table(tmp_path / "official" / "Data_Entry_2017.csv.gz", *of_mine, *further)
    return tmp_path


def write_table(path: Path, *lines: str) -> None:
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt") as file:
        file.write("\n".join([HEADER, *lines]))


def find(folder: Path, config: TrainConfig = SOFT) -> tuple[TrainConfig, DataFolder]:
    config = replace(config, validation_share=0.5, folds=2)
    return find_history(config, read_folder(folder, config, tables_only=True))


def rows_of(data: DataFolder) -> dict[str, Row]:
    return {one.image: one for rows in data.split.parts().values() for one in rows}


def test_tables_below_the_folder_tell_of_images_that_are_not_in_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, data = find(folder)
    rows = rows_of(data)
    assert config.history_share == 0.4
    assert history(rows["1_000"]) == {"Edema": 1.0}
    assert rows["2_000"].history is None
    assert rows["3_000"].history is None, "test images are only judged"
    assert "Labels of 1 of 2 images are softened" in capsys.readouterr().out
    named = describe_data(data)["neighbours"]
    assert named.startswith("Data_Entry_mine.csv (SHA-256 ")
    assert "Data_Entry_2017.csv.gz (SHA-256 " in named


def test_no_table_is_read_where_no_label_is_softened(folder: Path) -> None:
    (folder / "official" / "Data_Entry_2017.csv.gz").write_bytes(b"no gzip")
    config, data = find(folder, read_config("smoke"))
    assert (config.history_share, data.neighbours) == (0, "")
    assert "neighbours" not in describe_data(data)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("1_000.png,Mass,7,1,50,F,PA", "numbers images of"),
        ("1_000.png,Mass,0,9,50,F,PA", "numbers images of"),
        ("1_002.png,Splinter,2,1,50,F,PA", "unknown finding 'Splinter'"),
    ],
    ids=["another follow-up", "another patient", "an unknown finding"],
)
def test_table_below_that_is_of_no_use_is_passed_over_with_a_word(
    folder: Path, capsys: pytest.CaptureFixture[str], line: str, word: str
) -> None:
    write_table(folder / "official" / "Data_Entry_other.csv", line)
    data = find(folder)[1]
    assert word in capsys.readouterr().out
    assert history(rows_of(data)["1_000"]) == {"Edema": 1.0}
    assert "other" not in data.neighbours


def test_share_for_neighbours_is_left_out_with_a_word_where_there_are_none(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "official" / "Data_Entry_2017.csv.gz").unlink()
    config, data = find(folder)
    assert (config.history_share, data.neighbours) == (0, "")
    assert "No image has a neighbour" in capsys.readouterr().out


def test_run_whose_neighbours_have_changed_is_not_resumed(smoke: SmokeRun, tmp_path: Path) -> None:
    from training.chain import finish

    record = json.loads((smoke.run / RECORD).read_text())
    record["data"][NEIGHBOURS] = "0" * 64
    (tmp_path / RECORD).write_text(json.dumps(record))
    with pytest.raises(RunError, match="The neighbours of the images are not those"):
        finish(
            replace(smoke.config, history_share=0.4),
            smoke.data,
            smoke.cache,
            tmp_path,
            tmp_path / "models",
        )


def test_table_without_followups_trains_all_the_same(bare: BareRun) -> None:
    assert "No image has a neighbour" in bare.printed
    assert "softened" not in (bare.bundle / "assets.extra" / "card.md").read_text()
