"""From pixels to features: the small network of ours, and those of `keras.applications`."""

from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from keras import layers, ops

from training.config import CONTRAST_GRID, PixelScaling, TrainConfig
from training.errors import ConfigError

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
GREY_MEAN: Final = 0.449
GREY_STD: Final = 0.226
"""Means over ImageNet's three channels."""

_LARGE: Final[dict[str, tuple[Any, dict[str, Any]]]] = {
    "densenet121": (keras.applications.DenseNet121, {}),
    # Its own preprocessing is the same scaling once more.
    "convnext_tiny": (keras.applications.ConvNeXtTiny, {"include_preprocessing": False}),
}


def build_backbone(image: Any, config: TrainConfig) -> Any:
    """Return the features float[N,h,w,C] of `image`, a Keras tensor uint8[N,S,S,1].

    Their type is that of the current dtype policy. Raises ConfigError where pretrained weights
    cannot be fetched or do not fit.
    """
    return _small(image, config) if config.backbone == "small" else _large(image, config)


def _small(image: Any, config: TrainConfig) -> Any:
    """Residual network (He et al., 2016) for some thousand images; side / 32 with four stages."""
    grey = ops.cast(image, "float32")
    # Each image to mean 0 and deviation 1: exposure and windowing differ, anatomy does not.
    centred = grey - ops.mean(grey, axis=(1, 2, 3), keepdims=True)
    deviation = ops.sqrt(ops.mean(ops.square(centred), axis=(1, 2, 3), keepdims=True))
    x = centred / (deviation + 1.0)
    if config.local_contrast:
        # What is lighter or darker than its surroundings, whatever grey the region has.
        contrast = x - _blur(x, config.input_size // CONTRAST_GRID)
        x = layers.Concatenate(name="contrast", dtype="float32")([x, 2.0 * contrast])
    x = _convolve(x, "stem", config.widths[0], kernel=5, stride=2)
    x = layers.MaxPooling2D(2, name="stem_pool")(x)
    for stage, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True)):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _residual_block(x, f"stage{stage}_block{block}", width, stride)
    return x


def _blur(x: Any, around: int) -> Any:
    coarse = layers.AveragePooling2D(around, name="blur_shrink", dtype="float32")(x)
    grow = layers.UpSampling2D(around, interpolation="bilinear", name="blur_grow", dtype="float32")
    return grow(coarse)


def _residual_block(x: Any, name: str, width: int, stride: int) -> Any:
    y = _convolve(x, f"{name}_a", width, kernel=3, stride=stride)
    y = _convolve(y, f"{name}_b", width, kernel=3, activated=False)
    if stride > 1:
        x = layers.AveragePooling2D(stride, padding="same", name=f"{name}_shrink")(x)
    if x.shape[-1] != width:
        x = _convolve(x, f"{name}_widen", width, kernel=1, activated=False)
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([x, y]))


def _convolve(
    x: Any, name: str, width: int, *, kernel: int, stride: int = 1, activated: bool = True
) -> Any:
    x = layers.Conv2D(
        width,
        kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if activated else x


def _large(image: Any, config: TrainConfig) -> Any:
    build, options = _LARGE[config.backbone]
    weights = config.pretrained or None
    folded = weights is not None and config.pixel_scaling == "grey"
    try:
        backbone = build(
            include_top=False,
            weights=None if folded else weights,
            input_tensor=_scale_pixels(image, config.pixel_scaling),
            **options,
        )
        if folded:
            _fold_colours(build(include_top=False, weights=weights, **options), backbone)
    except Exception as error:
        if not config.pretrained:
            raise
        raise ConfigError(_explain(config, error)) from error
    return backbone.output


def _scale_pixels(image: Any, scaling: PixelScaling) -> Any:
    grey = ops.cast(image, "float32")
    if scaling == "torchxrayvision":
        # -1024 to 1024 in one channel (Cohen et al., TorchXRayVision, MIDL 2022).
        return layers.Rescaling(2048.0 / 255.0, -1024.0, name="scale", dtype="float32")(grey)
    if scaling == "grey":
        scale, offset = 1.0 / (255.0 * GREY_STD), -GREY_MEAN / GREY_STD
        return layers.Rescaling(scale, offset, name="grey_scale", dtype="float32")(grey)
    colour = layers.Concatenate(name="grey_to_rgb", dtype="float32")([grey] * 3)
    scales = [1.0 / (255.0 * std) for std in IMAGENET_STD]
    offsets = [-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    return layers.Rescaling(scales, offsets, name="imagenet_scale", dtype="float32")(colour)


def _fold_colours(colour: keras.Model, grey: keras.Model) -> None:
    """Copy the weights of a network for three channels into the same network for one.

    The kernels of the first convolution are added up, since a radiograph's channels are one and the
    same: a third of its work. What the channels' means differ by is a constant for each kernel. It
    goes into the bias; where there is none, as in DenseNet, the normalisation behind takes it out.
    """
    ratios = np.reshape([GREY_STD / std for std in IMAGENET_STD], (3, 1))
    offsets = (GREY_MEAN - np.array(IMAGENET_MEAN)) / IMAGENET_STD
    first, constant = "", np.zeros(())
    for ours, theirs in zip(grey.weights, colour.weights, strict=True):
        value = ops.convert_to_numpy(theirs)
        layer = theirs.path.rpartition("/")[0]
        if ours.shape != theirs.shape:
            first, constant = layer, np.einsum("hwco,c->o", value, offsets)
            value = (value * ratios).sum(axis=2, keepdims=True)
        elif layer == first and theirs.name == "bias":
            value = value + constant
        ours.assign(value)


def _explain(config: TrainConfig, error: Exception) -> str:
    scratch = "or train from scratch with --set pretrained="
    if config.pretrained != "imagenet":
        if not Path(config.pretrained).is_file():
            return (
                f"There is no file {config.pretrained}. Give another with --set "
                f"pretrained=FILE.h5, {scratch}"
            )
        return (
            f"The file {config.pretrained} does not hold weights of {config.backbone} without its "
            f"top ({error}). Give another with --set pretrained=FILE.h5, {scratch}"
        )
    return (
        f"The ImageNet weights of {config.backbone} could not be fetched ({error}). Connect to the "
        "network once, give a file that Keras published (its name ends in notop.h5) with "
        f"--set pretrained=FILE.h5, {scratch}"
    )
