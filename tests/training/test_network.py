import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from training.config import read_config
from training.phantom import draw_phantom
from training.quiet import start_keras

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
