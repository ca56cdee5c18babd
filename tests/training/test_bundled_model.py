"""What the bundled model says of the real images that nobody trained it on."""

from pathlib import Path

import numpy as np
import pytest

from contract.bundle import find_bundle, open_bundle
from contract.findings import FINDINGS
from contract.pixels import to_model_input
from contract.radiograph import read
from training.config import read_config
from training.data import read_folder
from training.int8 import predict

BUNDLED = Path(__file__).parents[2] / "models" / "xpro-demo"


@pytest.fixture(scope="module")
def probabilities(xrays: Path) -> np.ndarray:
    bundle = open_bundle(find_bundle(BUNDLED))
    data = read_folder(xrays, read_config("demo"))
    images = [
        to_model_input(read(data.files[row.image].read_bytes()), bundle.input_size)
        for row in data.split.test
    ]
    return predict(bundle.path, images)


def test_every_finding_is_called_positive_somewhere_and_negative_somewhere(
    probabilities: np.ndarray,
) -> None:
    thresholds = open_bundle(find_bundle(BUNDLED)).thresholds
    called = (probabilities >= thresholds).sum(axis=0)
    print(dict(zip(FINDINGS, called.tolist(), strict=True)))
    assert (called > 0).all()
    assert (called < len(probabilities)).all()
