import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).parents[2]
EPOCHS = 6
IN_MEMBERS = ("folds=2", f"fact_epochs={EPOCHS}", f"refit_epochs={EPOCHS}")
TIMEOUT_S = 400


def command(folder: Path, run: str, *changes: str) -> list[str]:
    options = ["--profile", "smoke", "--out", str(folder / "models" / run)]
    for change in (f"epochs={EPOCHS}", "dropout=0.2", "bootstrap_resamples=5", *changes):
        options += ["--set", change]
    paths = ["--data", str(folder / "drawn"), "--cache", str(folder / "cache")]
    return ["train", *paths, "--run", str(folder / run / "run"), *options]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "training", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*arguments: str) -> tuple[int, str]:
    process = start(*arguments)
    errors = process.communicate(timeout=TIMEOUT_S)[1]
    return process.returncode, errors


def kill(history: Path, *arguments: str) -> None:
    """Begin or resume a run and kill it with SIGKILL in the middle of the fit of a history."""
    process = start(*arguments)
    deadline = time.monotonic() + TIMEOUT_S
    while not history.exists() or len(history.read_text().splitlines()) < 3:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    # Reads until every process that inherited the pipe has ended: no worker outlives the run.
    told, errors = process.communicate(timeout=60)
    name = history.parent.name
    assert f"{name}, epoch 1/{EPOCHS}" in told, "a pipe's reader is told while the fit goes on"
    assert f"{name}: " in errors
    assert "tensorflow" not in errors.lower(), errors
    assert len(history.read_text().splitlines()) <= EPOCHS, "the kill came too late to prove much"


@pytest.fixture(scope="module")
def folder(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold `killed`, a run ended by SIGKILL in the middle and then resumed, and `whole`."""
    folder = tmp_path_factory.mktemp("resume")
    (folder / "drawn").symlink_to(drawn_folder)
    whole = start(*command(folder, "whole"))  # beside the other, for the sake of time
    run = folder / "killed" / "run"
    kill(run / "history.csv", *command(folder, "killed"))
    code, errors = finish("resume", str(run))
    assert code == 0, errors
    errors = whole.communicate(timeout=TIMEOUT_S)[1]
    assert whole.returncode == 0, errors
    return folder


@pytest.mark.parametrize(
    "name", ["best.weights.h5", "state.npz", "history.csv", "calibration.json", "report.json"]
)
def test_killed_and_resumed_run_equals_an_uninterrupted_one_in_every_byte(
    folder: Path, name: str
) -> None:
    def read(run: Path) -> bytes:
        return (run / "run" / name).read_bytes()

    assert read(folder / "killed") == read(folder / "whole")


def test_members_of_a_run_killed_thrice_end_with_it_and_resume_to_the_same(
    drawn_folder: Path, tmp_path: Path
) -> None:
    """Killed in the fit to facts, in that to findings, and while it goes on with all patients."""
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "images").symlink_to(drawn_folder / "images")
    head, *lines = (drawn_folder / "Data_Entry_drawn.csv").read_text().splitlines()
    told = [
        f"{line},{20 + n % 60},{'MF'[n % 2]},{'AP PA'.split()[n % 2]}"
        for n, line in enumerate(lines)
    ]
    head += ",Patient Age,Patient Gender,View Position"
    (tmp_path / "drawn" / "Data_Entry_told.csv").write_text("\n".join([head, *told]) + "\n")
    whole, killed = tmp_path / "whole" / "run", tmp_path / "killed" / "run"
    code, errors = finish(*command(tmp_path, "whole", *IN_MEMBERS))
    assert code == 0, errors
    member = killed / "member0"
    kill(member / "facts" / "history.csv", *command(tmp_path, "killed", *IN_MEMBERS))
    kill(member / "history.csv", "resume", str(killed))
    kill(member / "refit" / "history.csv", "resume", str(killed))
    code, errors = finish("resume", str(killed))
    assert code == 0, errors
    for file in ("best.weights.h5", "member1/out_of_fold.npy", "calibration.json"):
        assert (killed / file).read_bytes() == (whole / file).read_bytes()


def test_resumed_run_ends_in_its_bundle(folder: Path) -> None:
    assert (folder / "models" / "killed" / "1" / "assets.extra" / "bundle.json").is_file()


def test_curves_of_a_resumed_run_cover_every_epoch(folder: Path) -> None:
    curves = EventAccumulator(str(folder / "killed" / "run" / "tensorboard")).Reload()
    names = {"loss", "val_loss", "val_auroc"}
    tags = {tag for kind in ("scalars", "tensors") for tag in curves.Tags()[kind]}
    assert names <= tags
    points = (
        curves.Tensors("loss") if "loss" in curves.Tags()["tensors"] else curves.Scalars("loss")
    )
    assert {point.step for point in points} == set(range(1, EPOCHS + 1))


def test_finished_run_is_not_resumed(folder: Path) -> None:
    code, errors = finish("resume", str(folder / "killed" / "run"))
    assert code == 1
    assert f"is finished; `python -m training export {folder / 'killed' / 'run'} --out" in errors
    assert " --data " in errors


def test_run_folder_is_not_used_twice(folder: Path) -> None:
    code, errors = finish(*command(folder, "killed"))
    assert code == 1
    assert "python -m training resume" in errors


def test_run_is_not_resumed_on_other_data(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "killed"
    other.mkdir()
    record = (folder / "killed" / "run" / "run.json").read_text()
    at = record.index('"split_sha256": "') + len('"split_sha256": "')
    (other / "run.json").write_text(record[:at] + "x" + record[at + 1 :])
    code, errors = finish("resume", str(other))
    assert code == 1
    assert "other split hash" in errors


def test_interrupted_import_is_to_be_run_again(tmp_path: Path) -> None:
    # As an import leaves it that was ended before its report.
    command = ["import", "w.pth", "--kind", "arnoweng", "--data", "drawn", "--out", "m"]
    (tmp_path / "run.json").write_text(json.dumps({"command": command}))
    code, errors = finish("resume", str(tmp_path))
    assert code == 1
    assert "was begun by `import`, and only `train` can be continued" in errors


def test_run_resumed_from_another_folder_says_where_from(tmp_path: Path) -> None:
    command = ["train", "--data", "chest-images", "--out", "models/m"]
    (tmp_path / "run.json").write_text(json.dumps({"command": command}))
    code, errors = finish("resume", str(tmp_path))
    assert code == 1
    assert "no folder chest-images here" in errors
    assert "resume it from the folder where it was begun" in errors


def test_folder_without_record_is_no_run(tmp_path: Path) -> None:
    code, errors = finish("resume", str(tmp_path))
    assert code == 1
    assert "is no run" in errors
