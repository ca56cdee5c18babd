"""Files of random weights, written and answered by the originals' libraries."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tf_keras
import torch
import torchvision
import torchxrayvision

from contract.findings import FINDINGS
from training.config import read_config
from training.importers.adopt import fill_network, import_config
from training.importers.published import KINDS, read_published
from training.phantom import draw_phantom

TOLERANCE = 1e-4
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    drawn = draw_phantom(1)[16:240, 16:240]
    noise = np.random.default_rng(1).integers(0, 256, drawn.shape, dtype=np.uint8)
    return np.stack([drawn, 255 - drawn, noise])[..., np.newaxis]


def normalise(images: np.ndarray) -> np.ndarray:
    """Scale as the three that use ImageNet's numbers do, NHWC."""
    return (np.repeat(images, 3, axis=3).astype(np.float32) / 255 - MEAN) / DEVIATION


def our_answer(path: Path, name: str, images: np.ndarray) -> dict[str, np.ndarray]:
    config = import_config(read_config("densenet121"), KINDS[name])
    network = fill_network(read_published(path, KINDS[name]), config)
    return {key: np.asarray(value) for key, value in network(images).items()}


def assert_agrees(answer: dict[str, np.ndarray], logits: np.ndarray, outputs: Any) -> None:
    ours = answer["logits"]
    theirs = np.stack([logits[:, [*outputs].index(finding)] for finding in FINDINGS], axis=1)
    # Both images and outputs differ by far more than is tolerated.
    assert min(theirs.std(axis=0).mean(), theirs.std(axis=1).mean()) > 100 * TOLERANCE
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)
    np.testing.assert_allclose(sigmoid(ours), sigmoid(theirs), atol=TOLERANCE)
    np.testing.assert_allclose(answer["activation_maps"].mean((1, 2)), theirs, atol=TOLERANCE)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def randomise(model: torch.nn.Module) -> None:
    """Give every tensor its own values; a fresh network has ones and zeros where it could hide."""
    generator = torch.Generator().manual_seed(5)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=generator)
        elif "norm" in name and name.endswith("weight"):
            value.uniform_(0.8, 1.2, generator=generator)
        elif name.endswith(("running_mean", "bias")):
            value.normal_(0, 0.1, generator=generator)
    model.eval()


class DenseNet121(torch.nn.Module):
    """torchvision's network with a linear layer and a sigmoid, as both repositories wrap it."""

    def __init__(self) -> None:
        super().__init__()
        self.densenet121 = torchvision.models.densenet121()
        head = torch.nn.Linear(1024, 14)
        self.densenet121.classifier = torch.nn.Sequential(head, torch.nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.densenet121(x)


@pytest.fixture(scope="module")
def wrapped() -> DenseNet121:
    torch.manual_seed(2)
    model = DenseNet121()
    randomise(model)
    return model


def rename_as_in_2017(name: str) -> str:
    for part in ("norm1", "norm2", "conv1", "conv2"):
        name = name.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.")
    return name


@pytest.mark.parametrize("name", ["arnoweng", "zoogzog"])
@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoint_of_chexnet_in_pytorch_answers_as_the_original(
    tmp_path: Path, images: np.ndarray, wrapped: DenseNet121, name: str, zipped: bool
) -> None:
    state = torch.nn.DataParallel(wrapped).state_dict()
    if name == "arnoweng":
        state = {rename_as_in_2017(key): value for key, value in state.items()}
    optimiser = torch.optim.Adam(wrapped.parameters()).state_dict()
    content = {"epoch": 7, "state_dict": state, "best_loss": 0.15, "optimizer": optimiser}
    path = tmp_path / "model.pth.tar"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    pixels = torch.from_numpy(normalise(images).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        probabilities = wrapped(pixels).numpy().astype(np.float64)
    logits = np.log(probabilities / (1 - probabilities))
    assert_agrees(our_answer(path, name, images), logits, KINDS[name].outputs)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("zipped", [True, False])
def test_torchxrayvision_answers_as_the_original(
    tmp_path: Path, images: np.ndarray, whole: bool, zipped: bool
) -> None:
    torch.manual_seed(3)
    model = torchxrayvision.models.DenseNet(weights=None)
    randomise(model)
    # What training does to the first layer, whose inputs reach 1024.
    model.features.norm0.running_var.mul_(1e6)
    path = tmp_path / "model.pt"
    content = model if whole else model.state_dict()
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    pixels = torchxrayvision.datasets.normalize(images[:, :, :, 0].astype(np.float32), 255)
    with torch.no_grad():
        logits = model(torch.from_numpy(pixels)[:, np.newaxis]).numpy()
    assert_agrees(our_answer(path, "torchxrayvision", images), logits, model.targets)


def test_order_of_torchxrayvision_is_that_of_its_published_weights() -> None:
    published = torchxrayvision.models.model_urls["densenet121-res224-all"]["labels"]
    assert list(KINDS["torchxrayvision"].outputs) == published


@pytest.fixture(scope="module")
def chexnet_keras() -> Any:
    base = tf_keras.applications.DenseNet121(
        include_top=False, weights=None, input_shape=(224, 224, 3), pooling="avg"
    )
    head = tf_keras.layers.Dense(14, activation="sigmoid", name="predictions")(base.output)
    model = tf_keras.Model(base.input, head)
    rng = np.random.default_rng(4)
    for weight in model.weights:
        if "variance" in weight.name or "gamma" in weight.name:
            weight.assign(rng.uniform(0.8, 1.2, weight.shape))
        elif len(weight.shape) == 1:
            weight.assign(rng.normal(0, 0.1, weight.shape))
    return model


@pytest.mark.parametrize("save", ["save_weights", "save"])
@pytest.mark.filterwarnings("ignore:.*HDF5 file:UserWarning")
def test_chexnet_keras_answers_as_the_original(
    tmp_path: Path, images: np.ndarray, chexnet_keras: Any, save: str
) -> None:
    path = tmp_path / "weights.h5"
    getattr(chexnet_keras, save)(path)
    with h5py.File(path) as file:
        assert b"conv1/conv" in str(file.get("model_weights", file).attrs["layer_names"]).encode()
    probabilities = chexnet_keras(normalise(images)).numpy().astype(np.float64)
    logits = np.log(probabilities / (1 - probabilities))
    outputs = KINDS["chexnet-keras"].outputs
    assert_agrees(our_answer(path, "chexnet-keras", images), logits, outputs)
