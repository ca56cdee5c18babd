"""BentoML: its adaptive batching, in a worker for each of two cores."""

from typing import Any

import bentoml
import numpy as np
from PIL.Image import Image

from benchmarks.peers.model import SavedModel, to_answer, to_input


@bentoml.service(workers=2, traffic={"timeout": 120})
class Chest:
    """Each worker has a network of its own."""

    def __init__(self) -> None:
        self.model = SavedModel()

    @bentoml.api(batchable=True, max_batch_size=8)
    def predict(self, file: list[Image]) -> list[dict[str, Any]]:
        """Answer a batch; to each client a list of its one answer."""
        probabilities = self.model.predict(np.stack([to_input(image) for image in file]))
        return [to_answer(each) for each in probabilities]
