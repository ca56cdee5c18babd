"""Ray Serve: its dynamic batching, in a replica for each of two cores; without Ray's dashboard."""

import sys
from typing import Annotated, Any

import numpy as np
import ray
from fastapi import FastAPI, File
from numpy.typing import NDArray
from ray import serve

from benchmarks.peers.model import SavedModel, decode, to_answer

app = FastAPI()


@serve.ingress(app)
class Chest:
    """Each replica has a network of its own; a proxy in another process spreads the requests."""

    def __init__(self) -> None:
        self.model = SavedModel()

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.01)
    async def infer(self, images: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Return float32[14] for each uint8[224,224,1]."""
        return list(self.model.predict(np.stack(images)))

    @app.post("/predict")
    async def predict(self, file: Annotated[bytes, File()]) -> dict[str, Any]:
        """Answer one radiograph."""
        return to_answer(await self.infer(decode(file)))


if __name__ == "__main__":
    ray.init(include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    deployment = serve.deployment(Chest, num_replicas=2, max_ongoing_requests=64)
    serve.run(deployment.bind(), blocking=True)
