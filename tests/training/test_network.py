import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest

from training.config import read_config
from training.errors import ConfigError
from training.phantom import draw_phantom
from training.quiet import start_keras

ROOT = Path(__file__).parents[2]
PLACES = ("cache", "run", "out")
"""What `train` writes to, by its options."""

CONFIGS = {
    "small": read_config("smoke"),
    "densenet121": read_config("densenet121", ["input_size=64", "pretrained="]),
    "convnext_tiny": read_config("convnext", ["input_size=64", "pretrained="]),
}


@pytest.fixture(scope="module", params=CONFIGS)
def outputs(request: pytest.FixtureRequest) -> dict[str, Any]:
    start_keras()
    from training.network import build_network

    size = CONFIGS[request.param].input_size
    images = np.stack([draw_phantom(seed)[:size, :size, None] for seed in range(3)])
    network = build_network(CONFIGS[request.param])
    return {name: np.asarray(value) for name, value in network(images).items()}


def test_spatial_mean_of_the_maps_is_the_logits(outputs: dict[str, Any]) -> None:
    maps = outputs["activation_maps"].astype(np.float64)
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), outputs["logits"], atol=1e-5)


def test_outputs_are_float32_with_one_row_per_image(outputs: dict[str, Any]) -> None:
    assert {value.dtype for value in outputs.values()} == {np.dtype(np.float32)}
    assert outputs["logits"].shape == (3, 14)
    assert outputs["embedding"].shape[0] == 3


def test_command_line_loads_no_tensorflow_before_it_is_needed() -> None:
    code = (
        "import sys, training.__main__; "
        "sys.exit(any(name in sys.modules for name in ('keras', 'tensorflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def build_from(file: Path, backbone: str = "densenet121") -> None:
    start_keras()
    from training.network import build_network

    build_network(read_config(backbone, ["input_size=64", f"pretrained={file}"]))


def test_pretrained_weights_are_those_of_the_file(tmp_path: Path) -> None:
    start_keras()
    import keras

    from training.network import build_network

    keras.utils.set_random_seed(7)
    published = keras.applications.DenseNet121(include_top=False, weights=None)
    published.save_weights(tmp_path / "notop.weights.h5")
    network = build_network(
        read_config("densenet121", ["input_size=64", f"pretrained={tmp_path / 'notop.weights.h5'}"])
    )
    expected, found = (
        one.get_layer("conv5_block16_2_conv").get_weights()[0] for one in (published, network)
    )
    assert np.array_equal(expected, found)


def test_one_channel_shows_the_first_kernels_what_three_equal_ones_showed_them(
    tmp_path: Path,
) -> None:
    start_keras()
    import keras

    from training.network import build_network

    keras.utils.set_random_seed(7)
    file = tmp_path / "notop.weights.h5"
    keras.applications.DenseNet121(include_top=False, weights=None).save_weights(file)
    image = draw_phantom(1)[None, :64, :64, None]
    found, expected = (
        np.asarray(keras.Model(network.input, network.get_layer("conv1_conv").output)(image))
        for network in (
            build_network(read_config("densenet121", [*overrides, f"pretrained={file}"]))
            for overrides in (["input_size=64"], ["input_size=64", "pixel_scaling=imagenet"])
        )
    )
    # At the border zero stands for other greys; elsewhere only a constant may differ, which the
    # normalisation behind takes out.
    difference = (found - expected)[0, 2:-2, 2:-2]
    assert np.abs(difference - difference[0, 0]).max() < 1e-4
    assert found.std() > 0.1


def test_one_channel_and_three_equal_ones_are_one_network_where_the_stem_has_a_bias(
    tmp_path: Path,
) -> None:
    start_keras()
    import keras

    from training.network import build_network

    keras.utils.set_random_seed(7)
    file = tmp_path / "notop.weights.h5"
    published = keras.applications.ConvNeXtTiny(
        include_top=False, weights=None, include_preprocessing=False
    )
    published.save_weights(file)
    image = np.stack([draw_phantom(seed)[:64, :64, None] for seed in range(2)])
    found, expected = (
        np.asarray(keras.Model(network.input, network.layers[-8].output)(image))
        for network in (
            build_network(read_config("convnext", ["input_size=64", f"pretrained={file}", scaling]))
            for scaling in ("pixel_scaling=grey", "pixel_scaling=imagenet")
        )
    )
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_file_that_is_missing_or_of_another_network_is_named(tmp_path: Path) -> None:
    import keras

    with pytest.raises(ConfigError, match=r"There is no file .*none\.h5"):
        build_from(tmp_path / "none.h5")
    small = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    small.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(ConfigError, match=r"other\.weights\.h5 does not hold weights of convnext"):
        build_from(tmp_path / "other.weights.h5", "convnext")


@pytest.mark.parametrize("weights", ["imagenet", "none.h5"])
def test_weights_that_cannot_be_had_are_an_error_before_images_are_prepared(
    weights: str, drawn_folder: Path, tmp_path: Path
) -> None:
    options = ["--profile=densenet121", f"--set=pretrained={weights}", f"--data={drawn_folder}"]
    options += [f"--{name}={tmp_path / name}" for name in PLACES]
    nobody = "http://127.0.0.1:9"
    ended = subprocess.run(
        [sys.executable, "-m", "training", "train", *options],
        cwd=ROOT,
        env={**os.environ, "KERAS_HOME": str(tmp_path / "keras"), "https_proxy": nobody},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: The")
    assert "--set pretrained=FILE.h5, or train from scratch with --set pretrained=" in ended.stderr
    assert not any((tmp_path / name).exists() for name in PLACES)


@pytest.mark.parametrize("name", ["densenet121", "convnext_tiny"])
def test_exported_network_says_the_same_in_tensorflow_and_openvino(
    name: str, tmp_path: Path
) -> None:
    start_keras()
    import tensorflow as tf

    from training.export import write_saved_model
    from training.network import build_calibrated, build_network

    calibrated = build_calibrated(build_network(CONFIGS[name]), np.ones(14), np.zeros(14))
    write_saved_model(calibrated, tmp_path / "1")
    images = np.stack([draw_phantom(seed)[::4, ::4, None] for seed in range(3)])
    serve = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    core, hint = openvino.Core(), {"INFERENCE_PRECISION_HINT": "f32"}
    answer = core.compile_model(core.read_model(tmp_path / "1"), "CPU", hint)({"image": images})
    by_openvino = {port.any_name: value for port, value in answer.items()}
    for output, value in serve(image=tf.constant(images)).items():
        np.testing.assert_allclose(by_openvino[output], value.numpy(), atol=1e-5)


def test_small_network_sees_what_differs_from_its_surroundings() -> None:
    start_keras()
    import keras

    from training.network import build_network

    network = build_network(CONFIGS["small"])
    contrast = keras.Model(network.input, network.get_layer("contrast").output)
    flat = np.full((1, 64, 64, 1), 90, np.uint8)
    flat[:, :, 32:] = 160
    spot = flat.copy()
    spot[:, 10:12, 10:12] = 120
    before, after = (np.asarray(contrast(image))[0, ..., 1] for image in (flat, spot))
    assert np.abs(before[:, :24]).max() < 1e-5, "far from the edge nothing differs"
    assert after[10:12, 10:12].min() > 0.5
    assert after[8:14, 8:14].max() == after[10:12, 10:12].max()


def test_small_network_without_local_contrast_sees_the_image_alone() -> None:
    start_keras()
    from training.network import build_network

    for chosen, channels in (("true", 2), ("false", 1)):
        network = build_network(read_config("smoke", [f"local_contrast={chosen}"]))
        assert network.get_layer("stem_conv").kernel.shape[2] == channels


def test_small_network_refuses_a_side_it_cannot_divide() -> None:
    with pytest.raises(ConfigError, match="multiple of 16"):
        read_config("smoke", ["input_size=72"])


def test_weighted_loss_starts_from_even_odds() -> None:
    start_keras()
    from training.network import build_network

    rare, even = (
        build_network(read_config("smoke", [f"loss={loss}"])).get_layer("head").get_weights()[1]
        for loss in ("cross_entropy", "weighted")
    )
    assert (rare < -2).all()
    assert (even == 0).all()
