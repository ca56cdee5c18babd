"""Plain FastAPI: decode and `model.predict` in the route, which runs in a thread of the pool."""

import os
from typing import Annotated, Any

import keras
import numpy as np
from fastapi import FastAPI, File

from benchmarks.peers.model import MODEL_VARIABLE, SIZE, decode, to_answer

app = FastAPI()
image = keras.Input((SIZE, SIZE, 1), dtype="uint8")
layer = keras.layers.TFSMLayer(os.environ[MODEL_VARIABLE], call_endpoint="serving_default")
model = keras.Model(image, layer(image))


@app.post("/predict")
def predict(file: Annotated[bytes, File()]) -> dict[str, Any]:
    """Answer one radiograph."""
    outputs = model.predict(decode(file)[np.newaxis], verbose=0)
    return to_answer(outputs["probabilities"][0])
