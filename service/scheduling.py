"""The bounded waiting line in front of decoding and inference; sheds load."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final, Never

import numpy as np
from numpy.typing import NDArray

from service.engine import Engine, Outputs

_FIRST_GUESS_S: Final = 0.05
_WEIGHT: Final = 0.05
"""Of the newest request in the running mean of the service time."""


class LineFull(Exception):
    """There is no place in the waiting line; try again in `retry_after_s` seconds."""

    code = "overloaded"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"The service is at its limit; try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class WaitingLine:
    """First come, first served: `lanes` requests are worked on at once, others wait their turn.

    `places`: requests inside, waiting or worked on. `timeout_s`: longest wait for one's turn.
    `waited`: told the seconds that each one waited.
    """

    def __init__(
        self, places: int, lanes: int, timeout_s: float, waited: Callable[[float], None]
    ) -> None:
        self.places = places
        self.inside = 0
        self.service_s = _FIRST_GUESS_S
        self._lanes = asyncio.Semaphore(lanes)
        self._count = lanes
        self._timeout_s = timeout_s
        self._waited = waited

    def check(self) -> None:
        """Raise LineFull where there is no place, before anything is done for the request."""
        if self.inside >= self.places:
            raise self._full()

    @asynccontextmanager
    async def turn(self, leave: Callable[[], Coroutine[Any, Any, Never]]) -> AsyncIterator[None]:
        """Wait for one's turn and hold a lane.

        `leave`: watches the client while it waits, and raises when it has gone.
        Raises LineFull at once where there is no place and where the wait took too long, and what
        `leave` raises.
        """
        self.check()
        self.inside += 1
        try:
            entered = time.monotonic()
            await self._wait(leave)
            started = time.monotonic()
            self._waited(started - entered)
            try:
                yield
            finally:
                self._lanes.release()
                took_s = time.monotonic() - started
                self.service_s += _WEIGHT * (took_s - self.service_s)
        finally:
            self.inside -= 1

    async def _wait(self, leave: Callable[[], Coroutine[Any, Any, Never]]) -> None:
        """Acquire a lane; one acquired in the moment that the wait ends is released again."""
        if not self._lanes.locked():
            await self._lanes.acquire()
            return
        turn, left = asyncio.create_task(self._lanes.acquire()), asyncio.create_task(leave())
        taken = False
        try:
            await asyncio.wait(
                (turn, left), timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if left.done():
                left.result()
            taken = turn.done()
            if not taken:
                raise self._full()
        finally:
            left.cancel()
            if not taken and not turn.cancel():
                self._lanes.release()

    def _full(self) -> LineFull:
        return LineFull(max(1, math.ceil(self.service_s * self.inside / self._count)))


class InferencePool:
    """One thread for each inference stream; an answer never waits for a batch to fill."""

    def __init__(self, streams: int) -> None:
        self._pool = ThreadPoolExecutor(streams, "infer")

    def infer(self, engine: Engine, image: NDArray[np.uint8]) -> Awaitable[Outputs]:
        """Answer one image, uint8[S,S,1], when a stream is free."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._pool, engine.infer, image)

    def close(self) -> None:
        """Wait for the images being answered, then end the threads."""
        self._pool.shutdown()
