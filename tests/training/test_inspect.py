import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.conftest import call

ROOT = Path(__file__).parents[2]


def test_full_official_table_is_counted_without_its_images(
    xrays: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("inspect", "--data", xrays / "official", "--tables-only") == 0
    printed = capsys.readouterr().out.splitlines()
    lines = {line.split("  ")[0]: line.split()[-3:] for line in printed}
    assert sum(map(int, lines["images"])) == 112_120
    assert sum(map(int, lines["patients"])) == 30_805
    assert sum(map(int, lines["Hernia"])) == 227
    assert sum(map(int, lines["sex F"])) == 48_780


def test_ages_are_counted_in_their_order_and_those_not_told_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = "Image Index,Finding Labels,Patient ID,Patient Age,Patient Gender,View Position\n"
    lines = (f"{n}_0.png,Mass,{n},{age},F,PA\n" for n, age in enumerate([85, "", 70, 30, 5] * 8))
    (tmp_path / "Data_Entry_2017.csv").write_text(head + "".join(lines))
    assert call("inspect", "--data", tmp_path, "--tables-only") == 0
    printed = capsys.readouterr().out.splitlines()
    ages = [line[:20].strip() for line in printed if line.startswith("age ")]
    assert ages == ["age 0 to 17", "age 18 to 39", "age 60 to 79", "age 80 to 120", "age not told"]


def test_missing_image_is_an_error_unless_allowed_and_then_counted(
    drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(drawn_folder, tmp_path / "data")
    (folder / "images" / "00000005_001.png").unlink()
    assert call("inspect", "--data", folder) == 1
    assert "00000005_001" in capsys.readouterr().err
    assert call("inspect", "--data", folder, "--allow-missing") == 0
    assert "1 rows without an image file, left out" in capsys.readouterr().out


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["fails at the end", "fails at a line"])
def test_command_whose_reader_has_gone_ends_quietly(drawn_folder: Path, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "-m", "training", "inspect", "--data", str(drawn_folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_plots_are_written_with_samples(drawn_folder: Path, tmp_path: Path) -> None:
    assert call("inspect", "--data", drawn_folder, "--plots", tmp_path / "plots") == 0
    written = sorted(path.name for path in (tmp_path / "plots").iterdir())
    names = ["contributions.png", "frequencies.png", "patients.png", "samples.png"]
    assert written == names
