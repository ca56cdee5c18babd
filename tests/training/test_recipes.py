from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.recipes.__main__ import RECIPES, main
from benchmarks.recipes.job import ENDLESS, Job
from benchmarks.recipes.table import format_table
from training.config import read_config
from training.data import read_folder
from training.errors import RunError
from training.prepare import Cache, prepare_images
from training.quiet import start_keras
from training.split import Split

# Keras 3.15 converts tensors in a way that numpy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

BUDGET_S = 6.0
SMOKE = read_config("smoke")


@pytest.fixture(scope="module")
def drawn(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Split, Cache]:
    data = read_folder(drawn_folder, SMOKE)
    cache = prepare_images(data.files, SMOKE.input_size, tmp_path_factory.mktemp("cache"))
    return data.split, cache


@pytest.fixture(scope="module")
def jobs(drawn: tuple[Split, Cache], tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Job]:
    """Return a stretched and an endless job, both finished."""
    start_keras()
    out = tmp_path_factory.mktemp("out")
    stretched = Job("ours", SMOKE, BUDGET_S, *drawn, out / "ours")
    endless = replace(SMOKE, epochs=ENDLESS, warmup_epochs=0.0)
    jobs = (stretched, Job("baseline", endless, BUDGET_S, *drawn, out / "baseline"))
    for job in jobs:
        assert not job.is_done()
        job.run()
    return jobs


def test_both_recipes_use_the_budget_and_no_more(jobs: tuple[Job, Job]) -> None:
    stretched, endless = (job.used() for job in jobs)
    # The first validation builds a graph, which costs some seconds whatever the budget.
    assert 0.8 * BUDGET_S < endless["cpu_s"] < BUDGET_S + 4
    assert stretched["cpu_s"] < BUDGET_S + 4
    assert stretched["epochs"] > 1


def test_finished_job_is_done_for_the_same_question_only(jobs: tuple[Job, Job]) -> None:
    assert jobs[0].is_done()
    for change in ({"budget_s": 2 * BUDGET_S}, {"config": replace(SMOKE, seed=5)}):
        with pytest.raises(RunError, match="another recipe, budget or split"):
            replace(jobs[0], **change).is_done()


def test_table_shows_both_and_their_difference(jobs: tuple[Job, Job]) -> None:
    lines = format_table([jobs]).splitlines()
    assert lines[0].startswith("Budget of each fit: 0.1 CPU minutes (0.05 minutes of two cores).")
    ours, baseline, difference = (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in lines[-3:]
    )
    for column in (-2, -1):
        first, second, third = (
            float(row[column].split()[0]) for row in (ours, baseline, difference)
        )
        assert third == pytest.approx(first - second, abs=0.0011)


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
