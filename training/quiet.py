"""Start Keras without its backend's notes on CPU features and absent GPUs."""

import logging
import os


def start_keras() -> None:
    """Import Keras and touch its device with stderr closed.

    TensorFlow 2.21 writes its first notes whatever TF_CPP_MIN_LOG_LEVEL says, later ones obey it. A
    Python error still reaches stderr, because it is open again when the error leaves this function.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Else this process would keep nearly all memory of a GPU from those that fit the folds.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # Keras rebuilds its prediction step for every model; that is meant here.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        import keras

        keras.ops.zeros(1)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
