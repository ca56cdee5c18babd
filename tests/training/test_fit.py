import csv
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.conftest import SmokeRun
from training.checkpoint import History, save_state
from training.config import read_config
from training.disk import require_free_space
from training.errors import ConfigError, RunError
from training.phantom import draw_phantom
from training.prepare import Cache
from training.progress import HISTORY
from training.quiet import start_keras
from training.table import Row

ROOT = Path(__file__).parents[2]

# Two logical CPUs stand for two GPUs. All images are the same, so that the statistics of batch
# normalisation are the same on each device; labels differ, so that the gradients do.
ONE_EPOCH = """
import sys, json
from pathlib import Path
devices, run, count = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
import numpy as np
from training.config import read_config
from training.fit import fit
from training.phantom import draw_phantom
from training.prepare import Cache
from training.table import Row

changes = ["epochs=1", "batch_size=8", "augment=false", "dropout=0", "clip_norm=0"]
config = read_config("smoke", changes)
rng = np.random.default_rng(5)
rows = [
    Row(f"{n}", f"{n}", tuple(int(bit) for bit in rng.integers(0, 2, 14))) for n in range(count + 5)
]
image = draw_phantom(1)[::4, ::4, None]
run.mkdir()
np.save(run / "images.npy", np.stack([image] * len(rows)))
cache = Cache(run, {row.image: n for n, row in enumerate(rows)})
fit(config, rows[:count], rows[count:], cache, run)
(run / "devices.json").write_text(json.dumps(len(tf.config.list_logical_devices("CPU"))))
"""


def fit_on(devices: int, run: Path, count: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", ONE_EPOCH, str(devices), str(run), str(count)],
        check=False, cwd=ROOT, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "devices.json").read_text()) == devices
    with np.load(run / "state.npz") as state:
        return dict(state)


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], dict[str, Any]]:
    """Return what fits on so many devices to so many images left, two fitted at a time."""
    folder, fits = tmp_path_factory.mktemp("devices"), [(1, 16), (2, 16), (4, 17), (4, 21)]
    with ThreadPoolExecutor(2) as executor:
        left = executor.map(lambda fit: fit_on(fit[0], folder / f"{fit}", fit[1]), fits)
        return dict(zip(fits, left, strict=True))


def test_two_devices_learn_what_one_does(states: dict[tuple[int, int], dict[str, Any]]) -> None:
    one, two = states[1, 16], states[2, 16]
    first, second = (json.loads(str(state["history"])) for state in (one, two))
    assert one.keys() == two.keys()
    for epoch, other in zip(first, second, strict=True):
        assert epoch["val_loss"] == pytest.approx(other["val_loss"], rel=1e-3)
    for name in one.keys() - {"history"}:
        assert np.isfinite(two[name]).all()
        np.testing.assert_allclose(two[name], one[name], atol=1e-4)


@pytest.mark.parametrize("count", [17, 21])
def test_images_that_do_not_divide_evenly_among_devices_are_no_failure(
    states: dict[tuple[int, int], dict[str, Any]], count: int
) -> None:
    """TensorFlow gives each device a quarter of a batch, rounded up, and the last one none."""
    (epoch,) = json.loads(str(states[4, count]["history"]))
    assert np.isfinite([epoch["loss"], epoch["val_loss"]]).all()


def test_gradients_are_clipped_to_their_norm_together() -> None:
    start_keras()
    import keras

    from training.fit import _build_optimizer

    config = read_config("smoke", ["clip_norm=0.5", "warmup_epochs=0"])
    optimizer = _build_optimizer(config, steps_per_epoch=5, devices=1)
    weights = [keras.Variable(np.zeros(3, np.float32)), keras.Variable(np.zeros(4, np.float32))]
    optimizer.build(weights)
    optimizer.apply([keras.ops.full((3,), 30.0), keras.ops.full((4,), -40.0)], weights)
    # After one step Adam's first moment is a tenth of the gradient it was given.
    moments = [keras.ops.convert_to_numpy(v) for v in optimizer.variables if "_momentum" in v.path]
    assert len(moments) == 2
    norm = np.linalg.norm(np.concatenate(moments))
    assert norm == pytest.approx(0.1 * 0.5, rel=1e-4)
    assert moments[1][0] / moments[0][0] == pytest.approx(-40 / 30, rel=1e-4)


@pytest.mark.parametrize(("epochs", "momentum"), [(10, 0.9), (1000, 0.99)])
def test_averaged_weights_forget_where_a_short_fit_began(epochs: int, momentum: float) -> None:
    start_keras()
    from training.fit import _build_optimizer

    config = read_config("smoke", ["ema_momentum=0.99", f"epochs={epochs}"])
    optimizer = _build_optimizer(config, steps_per_epoch=10, devices=1)
    assert optimizer.ema_momentum == pytest.approx(momentum)


def test_rate_warms_up_and_falls_along_a_cosine() -> None:
    start_keras()
    from training.fit import _build_optimizer

    config = read_config("smoke", ["learning_rate=1", "epochs=12", "warmup_epochs=2"])
    optimizer = _build_optimizer(config, steps_per_epoch=10, devices=1)
    rates = []
    for step in (0, 10, 20, 70, 120):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    assert rates == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0], abs=1e-6)


@pytest.mark.parametrize(
    ("aurocs", "best", "over"),
    [
        ([0.6, 0.7, 0.65], 1, False),
        ([0.6, 0.7, 0.65, 0.7], 1, True),
        ([0.6, 0.7, 0.65, 0.71], 3, False),
        ([float("nan"), float("nan"), float("nan")], 2, False),
        ([0.8, float("nan"), 0.1], 0, True),
    ],
)
def test_patience_counts_the_epochs_since_the_best(
    aurocs: list[float], best: int, over: bool
) -> None:
    start_keras()
    from training.checkpoint import best_epoch, is_over

    history: History = [{"val_auroc": auroc} for auroc in aurocs]
    assert best_epoch(history) == best
    assert is_over(history, read_config("smoke", ["patience=2"])) is over


def test_fit_that_has_not_begun_is_not_over() -> None:
    from training.checkpoint import is_over

    assert not is_over([], read_config("smoke", ["patience=1"]))


def test_network_that_is_measured_after_a_short_fit_is_the_one_that_was_trained(
    smoke: SmokeRun,
) -> None:
    """With the initial statistics of normalisation validation would lose five times more."""
    *_, last = csv.DictReader((smoke.run / HISTORY).read_text().splitlines())
    assert float(last["val_loss"]) < 1.5 * float(last["loss"])


def test_disk_that_is_nearly_full_ends_the_fit_before_anything_is_torn(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nearly full: .* Make room, then: python"):
        require_free_space(tmp_path, 1 << 60)
    require_free_space(tmp_path, 1)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off"])
def test_damaged_state_is_said_so(tmp_path: Path, content: bytes) -> None:
    start_keras()
    import keras

    from training.checkpoint import STATE, load_state

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adamw")
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(RunError, match=r"is damaged .* the fit begins anew"):
        load_state(tmp_path, model)


def test_loss_that_is_no_number_any_more_ends_the_fit_with_advice(tmp_path: Path) -> None:
    start_keras()
    from training.fit import fit

    config = read_config("smoke", ["learning_rate=1e30", "clip_norm=0", "batch_size=2"])
    np.save(tmp_path / "images.npy", np.stack([draw_phantom(n)[::4, ::4, None] for n in range(8)]))
    rows = [Row(f"{n}", f"{n}", (n % 2,) * 14) for n in range(8)]
    cache = Cache(tmp_path, {row.image: n for n, row in enumerate(rows)})
    with pytest.raises(RunError, match=r"loss of epoch \d+ is nan.* smaller learning_rate"):
        fit(config, rows, (), cache, tmp_path)


def test_fit_that_goes_on_does_not_ask_for_the_weights_it_began_from(tmp_path: Path) -> None:
    start_keras()
    import keras

    from training.fit import _build_optimizer, fit
    from training.network import build_network

    published, run = tmp_path / "notop.weights.h5", tmp_path / "run"
    run.mkdir()
    keras.applications.DenseNet121(include_top=False, weights=None).save_weights(published)
    changes = ["input_size=32", "epochs=1", "warmup_epochs=0", f"pretrained={published}"]
    config = read_config("densenet121", changes)
    np.save(tmp_path / "images.npy", draw_phantom(1)[None, ::8, ::8, None])
    rows, cache = [Row("a", "1", (1,) * 14)], Cache(tmp_path, {"a": 0})

    network = build_network(config)
    model = keras.Model(network.input, network.output["logits"])
    model.compile(_build_optimizer(config, steps_per_epoch=1, devices=1))
    model.optimizer.build(model.trainable_variables)
    save_state(run, model, [{"loss": 0.7}])
    published.unlink()
    fit(config, rows, (), cache, run)
    with pytest.raises(ConfigError, match="There is no file"):
        fit(config, rows, (), cache, tmp_path / "begun anew")
