"""DenseNet121 (Huang et al., CVPR 2017) in the names of three libraries.

PyTorch and Keras build the same network: the same layers in the same order, the same padding,
pooling and floor of odd sides. They differ in names, in the order of a kernel's axes (OIHW against
HWIO) and in the epsilon of batch normalisation.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.importers.expect import Shape

BLOCKS: Final = (6, 12, 24, 16)
FEATURES: Final = 1024
_STEM, _GROWTH, _BOTTLENECK = 64, 32, 128

EPSILON: Final = {"pytorch": 1e-5, "keras": 1.001e-5}
"""Defaults of torch.nn.BatchNorm2d and of keras.applications.densenet."""

Arrays = Mapping[str, NDArray[np.float32]]
KerasWeights = dict[str, list[NDArray[np.float32]]]
"""Layer of `training.network` -> its arrays in the order of Keras' `get_weights`."""


class Layer(NamedTuple):
    """A layer with weights; `shape` is HWIO of a kernel, or (C,) of a normalisation."""

    pytorch: str
    keras: str
    kind: Literal["conv", "norm"]
    shape: Shape


def layers(channels: int) -> Iterator[Layer]:
    """Yield the layers without the head, for an input of `channels`."""
    yield Layer("features.conv0", "conv1_conv", "conv", (7, 7, channels, _STEM))
    yield Layer("features.norm0", "conv1_bn", "norm", (_STEM,))
    width = _STEM
    for block, count in enumerate(BLOCKS, start=1):
        for n in range(1, count + 1):
            theirs, ours = f"features.denseblock{block}.denselayer{n}", f"conv{block + 1}_block{n}"
            yield Layer(f"{theirs}.norm1", f"{ours}_0_bn", "norm", (width,))
            yield Layer(f"{theirs}.conv1", f"{ours}_1_conv", "conv", (1, 1, width, _BOTTLENECK))
            yield Layer(f"{theirs}.norm2", f"{ours}_1_bn", "norm", (_BOTTLENECK,))
            yield Layer(f"{theirs}.conv2", f"{ours}_2_conv", "conv", (3, 3, _BOTTLENECK, _GROWTH))
            width += _GROWTH
        if block < len(BLOCKS):
            theirs, ours = f"features.transition{block}", f"pool{block + 1}"
            yield Layer(f"{theirs}.norm", f"{ours}_bn", "norm", (width,))
            yield Layer(f"{theirs}.conv", f"{ours}_conv", "conv", (1, 1, width, width // 2))
            width //= 2
    yield Layer("features.norm5", "bn", "norm", (width,))


def pytorch_shapes(channels: int, head: str, outputs: int) -> dict[str, Shape]:
    """Return the tensors of a PyTorch state dict whose head is the linear layer `head`."""
    shapes: dict[str, Shape] = {}
    for layer in layers(channels):
        height_width, channels_in_out = layer.shape[:-2], layer.shape[-2:]
        shapes |= (
            {f"{layer.pytorch}.weight": (*reversed(channels_in_out), *height_width)}
            if layer.kind == "conv"
            else {f"{layer.pytorch}.{part}": layer.shape for part in _NORM_PYTORCH}
        )
    return shapes | {f"{head}.weight": (outputs, FEATURES), f"{head}.bias": (outputs,)}


def keras_shapes(head: str, outputs: int) -> dict[str, Shape]:
    """Return the tensors, `layer/weight`, of a Keras network whose head is the layer `head`."""
    shapes: dict[str, Shape] = {}
    for layer in layers(channels=3):
        parts = ("kernel",) if layer.kind == "conv" else _NORM_KERAS
        shapes |= {f"{layer.keras}/{part}": layer.shape for part in parts}
    return shapes | {f"{head}/kernel": (FEATURES, outputs), f"{head}/bias": (outputs,)}


def from_pytorch(arrays: Arrays, channels: int, head: str, order: Sequence[int]) -> KerasWeights:
    """Turn the arrays of `pytorch_shapes` into ours; `order` picks the outputs of the head."""
    weights: KerasWeights = {}
    for layer in layers(channels):
        if layer.kind == "conv":
            weights[layer.keras] = [arrays[f"{layer.pytorch}.weight"].transpose(2, 3, 1, 0)]
        else:
            *others, variance = (arrays[f"{layer.pytorch}.{part}"] for part in _NORM_PYTORCH)
            # The sum of variance and epsilon stays what it was.
            shift = np.float32(EPSILON["pytorch"] - EPSILON["keras"])
            weights[layer.keras] = [*others, variance + shift]
    kernel, bias = arrays[f"{head}.weight"].T, arrays[f"{head}.bias"]
    return weights | _head(kernel, bias, order)


def from_keras(arrays: Arrays, head: str, order: Sequence[int]) -> KerasWeights:
    """Turn the arrays of `keras_shapes` into ours; `order` picks the outputs of the head."""
    weights: KerasWeights = {}
    for layer in layers(channels=3):
        parts = ("kernel",) if layer.kind == "conv" else _NORM_KERAS
        weights[layer.keras] = [arrays[f"{layer.keras}/{part}"] for part in parts]
    return weights | _head(arrays[f"{head}/kernel"], arrays[f"{head}/bias"], order)


_NORM_PYTORCH: Final = ("weight", "bias", "running_mean", "running_var")
_NORM_KERAS: Final = ("gamma", "beta", "moving_mean", "moving_variance")


def _head(
    kernel: NDArray[np.float32], bias: NDArray[np.float32], order: Sequence[int]
) -> KerasWeights:
    # Pooling and then a dense layer is a 1 x 1 convolution and then pooling: both are linear.
    return {"head": [kernel[np.newaxis, np.newaxis, :, order], bias[[*order]]]}
