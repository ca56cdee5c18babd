import json
import math
import multiprocessing
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.recipes import ENDLESS, Way
from benchmarks.recipes.__main__ import RECIPES, main
from benchmarks.recipes.choices import CHOICES, WAYS, choose, format_choices, judge
from benchmarks.recipes.job import Job
from benchmarks.recipes.table import format_table
from tests.conftest import wait_until
from training.config import read_config
from training.data import read_folder
from training.errors import RunError
from training.prepare import Cache, prepare_images
from training.quiet import start_keras
from training.split import Split

BUDGET_S = 6.0
SMOKE = read_config("smoke")


@pytest.fixture(scope="module")
def drawn(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Split, Cache]:
    data = read_folder(drawn_folder, SMOKE)
    cache = prepare_images(data.files, SMOKE.input_size, tmp_path_factory.mktemp("cache"))
    return data.split, cache


@pytest.fixture(scope="module")
def finished(drawn: tuple[Split, Cache], tmp_path_factory: pytest.TempPathFactory) -> Job:
    start_keras()
    endless = replace(SMOKE, epochs=ENDLESS, warmup_epochs=0.0)
    job = Job("ours", endless, BUDGET_S, *drawn, tmp_path_factory.mktemp("out") / "ours-1")
    assert not job.is_done()
    job.run()
    return job


def test_endless_fit_uses_the_budget_and_no_more(finished: Job) -> None:
    used = finished.used()
    assert 0.6 * BUDGET_S < used["cpu_s"] < 1.4 * BUDGET_S
    assert used["epochs"] > 1
    assert used["images"] == round(used["epochs"] * len(finished.split.train))


def test_killed_fit_goes_on_after_its_last_whole_epoch_within_the_same_budget(
    finished: Job, tmp_path: Path
) -> None:
    job = replace(finished, folder=tmp_path / "ours-1")
    process = multiprocessing.get_context("spawn").Process(target=job.run)
    process.start()
    wait_until((job.folder / "clock.json").exists, seconds=120)
    process.kill()
    process.join()
    before = (job.folder / "log.txt").read_text()
    clock = json.loads((job.folder / "clock.json").read_text())
    clock["steps"] += 10_000  # to be found again in what it says in the end
    (job.folder / "clock.json").write_text(json.dumps(clock))
    job.run()
    log = (job.folder / "log.txt").read_text()
    assert log.startswith(before)
    assert log.count(f"epoch 1/{ENDLESS} ") == 1
    used = job.used()
    assert used["epochs"] * math.ceil(len(job.split.train) / SMOKE.batch_size) > 10_000
    assert 0.6 * BUDGET_S < used["cpu_s"] < 1.4 * BUDGET_S


def test_finished_job_is_done_for_the_same_question_only(finished: Job) -> None:
    assert finished.is_done()
    for change in ({"budget_s": 2 * BUDGET_S}, {"config": replace(SMOKE, seed=5)}):
        with pytest.raises(RunError, match="another recipe, budget or split"):
            replace(finished, **change).is_done()


def test_table_shows_both_and_their_difference(finished: Job, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "baseline-1")
    opposite = replace(finished, recipe="baseline", folder=tmp_path / "baseline-1")
    np.save(opposite.folder / "logits.npy", -np.concatenate(finished.logits()))
    lines = format_table([(finished, opposite)]).splitlines()
    assert lines[0].startswith("Budget of each fit: 0.1 CPU minutes (0.05 minutes of two cores).")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[-3:]]
    for column in (-2, -1):
        ours, baseline, difference = (float(row[column].split()[0]) for row in rows)
        assert baseline == pytest.approx(1 - ours, abs=0.0011)
        assert difference == pytest.approx(ours - baseline, abs=0.0011)


def test_choices_are_judged_by_validation_and_set_against_the_first(
    finished: Job, tmp_path: Path
) -> None:
    shutil.copytree(finished.folder, tmp_path / "opposite")
    opposite = replace(finished, recipe="opposite", folder=tmp_path / "opposite")
    validation, test = finished.logits()
    np.save(opposite.folder / "logits.npy", np.concatenate([-validation, test]))
    *_, first, second = format_choices([finished, opposite]).splitlines()
    ours, theirs = judge(finished), judge(opposite)
    assert theirs == pytest.approx(1 - ours)
    assert first == f"| ours | {ours:.3f} | {ours:.3f} |  |"
    gain = f"{theirs - ours:+.3f}"
    assert second == f"| opposite | {theirs:.3f} | {theirs:.3f} | {gain} ({gain} to {gain}) |"


def test_some_choices_are_fitted_alone_beside_the_first() -> None:
    assert choose([]) == CHOICES
    assert list(choose(["focal loss", "no dropout"])) == ["ours", "focal loss", "no dropout"]


def test_no_two_choices_are_the_same() -> None:
    assert len({(config, WAYS.get(name)) for name, config in CHOICES.items()}) == len(CHOICES)


@pytest.mark.parametrize("way", ["distilled", "facts", "contrastive"])
def test_fit_that_learns_from_more_than_labels_learns_and_stays_in_the_budget(
    finished: Job, tmp_path: Path, way: Way
) -> None:
    shutil.copytree(finished.folder, tmp_path / "ours-1")
    config = replace(SMOKE, patience=100)
    told = {
        name: tuple(
            replace(row, age=20 + n % 60, sex="MF"[n % 2], view=("AP", "PA")[n % 2])
            for n, row in enumerate(rows)
        )
        for name, rows in finished.split.parts().items()
    }
    split = replace(finished.split, **told)
    job = replace(finished, config=config, way=way, split=split, folder=tmp_path / f"{way}-1")
    with pytest.raises(RunError, match="another recipe, budget or split"):
        replace(job, folder=tmp_path / "ours-1").is_done()
    job.run()
    assert judge(job) > 0.6
    assert job.used()["cpu_s"] < (1.4 if way == "distilled" else 0.7) * BUDGET_S


def test_pretrained_weights_are_those_a_fit_begins_with_but_for_the_head(
    finished: Job, tmp_path: Path
) -> None:
    from benchmarks.recipes.budget import Clock, Costs
    from benchmarks.recipes.pretraining import Begin
    from training.epoch import WEIGHTS
    from training.fit import fit, load_best

    config = replace(SMOKE, learning_rate=1e-9)  # so that nothing moves
    split, cache = finished.split, finished.cache
    begin = Begin(config, finished.folder / WEIGHTS)
    stop = Clock(0.0, Costs(0.0, 0.0, 0.0))
    fit(config, split.train, split.validation, cache, tmp_path, watchers=[begin, stop])
    before, after = load_best(config, finished.folder), load_best(config, tmp_path)
    for theirs, ours in zip(before.trainable_weights, after.trainable_weights, strict=True):
        same = np.allclose(theirs.numpy(), ours.numpy(), atol=1e-6)
        assert same != ("head" in ours.path), ours.path


def test_contrastive_loss_is_small_for_views_of_one_image_alone() -> None:
    from benchmarks.recipes.pretraining import contrastive_loss

    vectors = np.eye(4, 8, dtype=np.float32)
    told = np.asarray(contrastive_loss(None, np.concatenate([vectors, vectors])))
    swapped = np.asarray(contrastive_loss(None, np.concatenate([vectors, vectors[::-1]])))
    assert told.shape == (8,)
    assert told.max() < 0.01
    assert swapped.min() > 5


def test_endless_cosine_is_a_constant_rate_of_plain_adam() -> None:
    start_keras()
    import keras

    from training.fit import _build_optimizer

    baseline = RECIPES["baseline"]
    optimizer = _build_optimizer(baseline, steps_per_epoch=295, devices=1)
    weights = [keras.Variable(np.full(3, 2.0, np.float32))]
    optimizer.build(weights)
    plain = [keras.Variable(np.full(3, 2.0, np.float32))]
    adam = keras.optimizers.Adam()
    adam.build(plain)
    for step in range(5):
        gradient = keras.ops.convert_to_tensor(np.array([40.0, -0.1, step], np.float32))
        optimizer.apply([gradient], weights)
        adam.apply([gradient], plain)
    optimizer.finalize_variable_values(weights)
    np.testing.assert_allclose(weights[0].numpy(), plain[0].numpy(), rtol=1e-6)
    assert float(optimizer.learning_rate) == pytest.approx(float(adam.learning_rate))


def test_epochs_fill_the_budget_and_keep_the_share_of_warm_up() -> None:
    start_keras()
    from benchmarks.recipes.budget import count_epochs, stretch

    assert count_epochs(budget_s=1000.0, epoch_s=30.0) == 31
    assert count_epochs(budget_s=10.0, epoch_s=30.0) == 1
    ours = stretch(RECIPES["ours"], 9)
    assert (ours.epochs, ours.patience, ours.warmup_epochs) == (9, 9, pytest.approx(0.4))


def test_missing_folder_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["recipes", "--data", "nowhere"])
    assert main() == 1
    assert "error: There is no folder nowhere." in capsys.readouterr().err
