"""What the peers share: decoding with Pillow, the SavedModel on TensorFlow, the answer."""

import os
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.findings import FINDINGS

SIZE: Final = 224
MODEL_VARIABLE: Final = "PEERS_MODEL"
"""Names the folder of the SavedModel to a peer."""


def decode(data: bytes) -> NDArray[np.uint8]:
    """Turn an 8-bit grey PNG into the network's input, uint8[224,224,1]."""
    with Image.open(BytesIO(data)) as image:
        return to_input(image)


def to_input(image: Image.Image) -> NDArray[np.uint8]:
    """Resize as `contract.pixels` does, to uint8[224,224,1]."""
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR))[:, :, np.newaxis]


class SavedModel:
    """The serving signature of the SavedModel in the folder that PEERS_MODEL names.

    On one thread, since those who load it run a worker for each core.
    """

    def __init__(self) -> None:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self._constant = tf.constant
        self._loaded = tf.saved_model.load(os.environ[MODEL_VARIABLE])
        self._signature = self._loaded.signatures["serving_default"]

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32[N,14] for uint8[N,224,224,1]."""
        probabilities: NDArray[np.float32] = self._signature(image=self._constant(images))[
            "probabilities"
        ].numpy()
        return probabilities


def to_answer(probabilities: NDArray[np.float32]) -> dict[str, dict[str, float]]:
    """Return what a peer answers for float32[14], a part of what the service answers."""
    return {"probabilities": dict(zip(FINDINGS, probabilities.tolist(), strict=True))}
