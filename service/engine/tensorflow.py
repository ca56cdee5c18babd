"""TensorFlow, for machines with a GPU."""

import os

import numpy as np
from numpy.typing import NDArray

from contract.bundle import Bundle
from service.engine import Outputs


class TensorFlowEngine:
    """The SavedModel's own signature, one image at a time, in full float32 on any device."""

    name = "tensorflow"
    precision = "float32"

    def __init__(self, bundle: Bundle) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import tensorflow as tf

        # Left alone, Ampere and later GPUs multiply in TF32, whose error shows in the third digit.
        tf.config.experimental.enable_tensor_float_32_execution(False)
        tf.config.experimental.enable_op_determinism()
        tf.random.set_seed(0)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        self._constant = tf.constant
        # The loaded object must stay alive as long as its signature is called.
        self._loaded = tf.saved_model.load(str(bundle.path))
        self._signature = self._loaded.signatures["serving_default"]

    def infer(self, image: NDArray[np.uint8]) -> Outputs:
        """Answer one image, uint8[S,S,1]."""
        outputs = self._signature(image=self._constant(image[np.newaxis]))
        return Outputs(*(outputs[name].numpy()[0] for name in Outputs._fields))
