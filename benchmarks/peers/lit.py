"""LitServe: a worker for each of two cores; its batching gained nothing over that."""

import sys
from typing import Any

import litserve
import numpy as np
from fastapi import Request
from numpy.typing import NDArray

from benchmarks.peers.model import SavedModel, decode, to_answer


class Chest(litserve.LitAPI):
    """One method for each step of a request."""

    def setup(self, _device: str) -> None:
        """Load the network, once in each worker."""
        self.model = SavedModel()

    def decode_request(self, request: Request) -> NDArray[np.uint8]:
        """Read the form's part."""
        return decode(request["file"].file.read())

    def predict(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32[14] for uint8[224,224,1]."""
        probabilities: NDArray[np.float32] = self.model.predict(image[np.newaxis])[0]
        return probabilities

    def encode_response(self, output: NDArray[np.float32]) -> dict[str, Any]:
        """Name the probabilities."""
        return to_answer(output)


if __name__ == "__main__":
    litserve.LitServer(Chest(), accelerator="cpu", workers_per_device=2, timeout=120).run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False
    )
