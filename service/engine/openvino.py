"""OpenVINO on the CPU, reading the SavedModel itself."""

import threading

import numpy as np
import openvino
from numpy.typing import NDArray

from contract.bundle import Bundle
from service.engine import Outputs


class OpenVinoEngine:
    """One single-threaded stream for each of `streams` callers; every answer is a batch of one.

    The precision is set to float32: left alone, OpenVINO takes bfloat16 on processors that have it.
    A fixed batch and one thread for each stream make the same input give the same bits always.
    """

    name = "openvino"
    precision = "float32"

    def __init__(self, bundle: Bundle, streams: int) -> None:
        core = openvino.Core()
        network = core.read_model(bundle.path)
        size = bundle.input_size
        network.reshape([1, size, size, 1])
        self._network = core.compile_model(
            network,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32",
                "NUM_STREAMS": streams,
                "INFERENCE_NUM_THREADS": streams,
                "ENABLE_CPU_PINNING": False,
            },
        )
        self._local = threading.local()

    def infer(self, image: NDArray[np.uint8]) -> Outputs:
        """Answer one image, uint8[S,S,1]."""
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._network.create_infer_request()
        request.infer({"image": image[np.newaxis]})
        return Outputs(*(request.get_tensor(name).data[0].copy() for name in Outputs._fields))
