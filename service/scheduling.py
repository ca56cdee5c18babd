"""The bounded waiting line in front of decoding and inference; sheds load."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
from numpy.typing import NDArray

from service.engine import Engine, Outputs


class LineFull(Exception):
    """The waiting line is full; try again in `retry_after_s` seconds."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"The service is at its limit; try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class WaitingLine:
    """At most `places` requests are inside at once, waiting or worked on by `lanes` workers."""

    def __init__(self, places: int, lanes: int) -> None:
        self._places = places
        self._lanes = lanes
        self._inside = 0
        self._service_s = 0.05

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place; raises LineFull at once where there is none."""
        if self._inside >= self._places:
            wait_s = self._service_s * self._inside / self._lanes
            raise LineFull(max(1, math.ceil(wait_s)))
        self._inside += 1
        ahead, entered = self._inside, time.monotonic()
        try:
            yield
        finally:
            self._inside -= 1
            one_s = (time.monotonic() - entered) * min(1.0, self._lanes / ahead)
            self._service_s += 0.05 * (one_s - self._service_s)


class InferencePool:
    """One thread for each inference stream; an answer never waits for a batch to fill."""

    def __init__(self, engine: Engine, streams: int) -> None:
        self._engine = engine
        self._pool = ThreadPoolExecutor(streams, "infer")

    async def infer(self, image: NDArray[np.uint8]) -> Outputs:
        """Answer one image, uint8[S,S,1], when a stream is free."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._engine.infer, image)

    def close(self) -> None:
        """Wait for the images being answered, then end the threads."""
        self._pool.shutdown()
