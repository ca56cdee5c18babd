"""The network: a backbone and a head whose maps average to the logits.

Plain Keras 3, no augmentation and nothing random at inference, so that the exported graph is read
by TensorFlow and OpenVINO alike.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from contract.findings import FINDINGS
from training.backbones import build_backbone
from training.config import DtypePolicy, TrainConfig

_RARE_FINDING_LOGIT: Final = -2.9
"""log(0.052 / 0.948): 5.2 % is the mean frequency of the 14 findings in ChestX-ray14."""


def build_network(
    config: TrainConfig, precision: DtypePolicy = "float32", name: str = "network"
) -> keras.Model:
    """Build the network with fresh weights.

    Input `image` uint8[N,S,S,1]; outputs `logits` float32[N,14], `activation_maps`
    float32[N,h,w,14] whose means over h and w are the logits, `embedding` float32[N,C]. Weights are
    float32 under either precision. Raises ConfigError where pretrained weights cannot be fetched
    or do not fit.
    """
    with _dtype_policy(precision):
        image = keras.Input((config.input_size, config.input_size, 1), name="image", dtype="uint8")
        features = ops.cast(build_backbone(image, config), "float32")
    embedding = layers.GlobalAveragePooling2D(name="pool_features", dtype="float32")(features)
    kept = layers.SpatialDropout2D(config.dropout, name="dropout", dtype="float32")(features)
    maps = layers.Conv2D(
        len(FINDINGS),
        1,
        bias_initializer=keras.initializers.Constant(_start_logit(config)),
        name="head",
        dtype="float32",
    )(kept)
    logits = layers.GlobalAveragePooling2D(name="pool_maps", dtype="float32")(maps)
    outputs = {"logits": logits, "activation_maps": maps, "embedding": embedding}
    return keras.Model(image, outputs, name=name)


def build_ensemble(config: TrainConfig) -> tuple[keras.Model, list[keras.Model]]:
    """Build `config.folds` networks and the one that answers for all, which is returned first.

    It has their inputs and outputs: logits and maps are their means, embeddings stand side by side.
    """
    members = [build_network(config, name=f"member{fold}") for fold in range(config.folds)]
    image = keras.Input((config.input_size, config.input_size, 1), name="image", dtype="uint8")
    answers = [member(image) for member in members]
    outputs = {
        name: layers.Average(name=name)([answer[name] for answer in answers])
        for name in ("logits", "activation_maps")
    }
    embeddings = [answer["embedding"] for answer in answers]
    outputs["embedding"] = layers.Concatenate(name="embedding")(embeddings)
    return keras.Model(image, outputs, name="ensemble"), members


def build_calibrated(
    network: keras.Model, slopes: NDArray[np.float64], intercepts: NDArray[np.float64]
) -> keras.Model:
    """Add `probabilities` float32[N,14] = sigmoid(slope * logit + intercept) to the outputs."""
    outputs: dict[str, Any] = dict(network.output)
    scaled = outputs["logits"] * slopes.astype(np.float32) + intercepts.astype(np.float32)
    return keras.Model(network.input, {"probabilities": ops.sigmoid(scaled), **outputs})


def _start_logit(config: TrainConfig) -> float:
    # Weighted, positives and negatives of a finding count alike, however rare it is.
    return 0.0 if config.loss == "weighted" else _RARE_FINDING_LOGIT


@contextmanager
def _dtype_policy(precision: DtypePolicy) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
