"""OpenVINO on the CPU: the INT8 network of a bundle, or its SavedModel in float32."""

import threading

import numpy as np
import openvino
from numpy.typing import NDArray

from contract.bundle import Bundle, Precision
from service.engine import Outputs


class OpenVinoEngine:
    """One single-threaded stream for each of `streams` callers; every answer is a batch of one.

    What is not INT8 is set to float32: left alone, OpenVINO takes bfloat16 on processors that have
    it.
    A fixed batch and one thread for each stream make the same input give the same bits always.
    """

    name = "openvino"

    def __init__(self, bundle: Bundle, streams: int, precision: Precision) -> None:
        self.precision = precision
        core = openvino.Core()
        network = core.read_model(bundle.int8 if precision == "int8" else bundle.path)
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
        tensor = request.get_tensor("image").data[0]
        if (image.shape, image.dtype) != (tensor.shape, tensor.dtype):  # numpy would make it fit
            raise ValueError(
                f"{image.dtype}{list(image.shape)} instead of uint8{list(tensor.shape)}"
            )
        tensor[:] = image
        request.infer(share_outputs=True)
        return Outputs(*(request.get_tensor(name).data[0].copy() for name in Outputs._fields))
