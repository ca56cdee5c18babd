"""What is known of each kind of published weights."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from contract.findings import FINDINGS
from training.config import PixelScaling
from training.errors import WeightsError
from training.importers.densenet import (
    KerasWeights,
    from_keras,
    from_pytorch,
    keras_shapes,
    layers,
    pytorch_shapes,
)
from training.importers.keras_file import read_keras
from training.importers.state import Tensor
from training.importers.torch_file import read_torch

INPUT_SIZE: Final = 224
"""Side in pixels that all of them were trained at."""

_CHEXNET_ORDER: Final = (
    "Atelectasis Cardiomegaly Effusion Infiltration Mass Nodule Pneumonia Pneumothorax "
    "Consolidation Edema Emphysema Fibrosis Pleural_Thickening Hernia"
).split()
_TORCHXRAYVISION_ORDER: Final = (
    *"Atelectasis Consolidation Infiltration Pneumothorax Edema Emphysema Fibrosis".split(),
    *"Effusion Pneumonia Pleural_Thickening Cardiomegaly Nodule Mass Hernia".split(),
    *("Lung Lesion", "Fracture", "Lung Opacity", "Enlarged Cardiomediastinum"),
)


@dataclass(frozen=True)
class Kind:
    """One way of publishing weights.

    `outputs` are the names of the head's outputs in order, `head` is its name in the file,
    `scaling` what the network was trained to see, `trained_on` what its authors say of its data.
    """

    form: Literal["pytorch", "keras"]
    head: str
    outputs: Sequence[str]
    scaling: PixelScaling
    trained_on: str

    @property
    def channels(self) -> int:
        """Channels of the first convolution."""
        return 1 if self.scaling == "torchxrayvision" else 3

    @property
    def order(self) -> list[int]:
        """Place of each of FINDINGS among the outputs."""
        return [self.outputs.index(finding) for finding in FINDINGS]


_RANDOM_SPLIT: Final = (
    "a random 70 % of ChestX-ray14 (as published: not the official lists, labels of 2017)"
)
KINDS: Final = {
    "chexnet-keras": Kind(
        "keras",
        "predictions",
        _CHEXNET_ORDER,
        "imagenet",
        "most patients of ChestX-ray14 (as published: not the official lists, labels of 2017)",
    ),
    "arnoweng": Kind("pytorch", "classifier.0", _CHEXNET_ORDER, "imagenet", _RANDOM_SPLIT),
    "zoogzog": Kind("pytorch", "classifier.0", _CHEXNET_ORDER, "imagenet", _RANDOM_SPLIT),
    "torchxrayvision": Kind(
        "pytorch",
        "classifier",
        _TORCHXRAYVISION_ORDER,
        "torchxrayvision",
        "the data sets that their publisher names, nih among them a random part of ChestX-ray14",
    ),
}


def read_published(path: Path, kind: Kind) -> KerasWeights:
    """Return the weights of a file for `training.network`, its outputs in the order of FINDINGS.

    Raises WeightsError for a file that is dangerous, damaged or of another kind.
    """
    if not path.is_file():
        raise WeightsError(f"There is no file {path}.")
    if kind.form == "keras":
        arrays = read_keras(path, keras_shapes(kind.head, len(kind.outputs)))
        return from_keras(arrays, kind.head, kind.order)
    shapes = pytorch_shapes(kind.channels, kind.head, len(kind.outputs))
    arrays = read_torch(path, lambda tensors: _rename(tensors, kind), shapes)
    return from_pytorch(arrays, kind.channels, kind.head, kind.order)


def describe_origin(path: Path, name: str, kind: Kind) -> dict[str, str]:
    """Return kind, SHA-256 and training data of a file of weights; its name stays out."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"kind": name, "sha256": digest, "trained_on": kind.trained_on}


def _rename(tensors: dict[str, Tensor], kind: Kind) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        # DataParallel's prefix, the attribute of the wrapping class, and the names of 2017.
        bare = re.sub(r"^(module\.)?(densenet121\.)?", "", name)
        bare = re.sub(r"(denselayer\d+)\.(norm|conv)\.([12])\.", r"\1.\2\3.", bare)
        if bare in renamed:
            raise WeightsError(f"{name} is in the file twice.")
        renamed[bare] = tensor
    return {name: one for name, one in renamed.items() if _is_weight(name, one, kind)}


def _is_weight(name: str, tensor: Tensor, kind: Kind) -> bool:
    """Return False for counters of batch normalisation and operating points of TorchXRayVision.

    The first count training steps, the second rescale probabilities after the sigmoid; neither
    reaches a logit.
    """
    layer, _, part = name.rpartition(".")
    if part == "num_batches_tracked":
        norms = {one.pytorch for one in layers(kind.channels) if one.kind == "norm"}
        counts = layer in norms and tensor.shape == () and tensor.storage.dtype.kind == "i"
        return not counts
    points = kind.scaling == "torchxrayvision" and name == "op_threshs"
    return not (points and tensor.shape == (len(kind.outputs),))
