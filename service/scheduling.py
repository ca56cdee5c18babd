"""The bounded waiting line in front of decoding and inference; sheds load."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, Never

import numpy as np
from numpy.typing import NDArray

from service.engine import Engine, Outputs

_FIRST_GUESS_S: Final = 0.05
_WEIGHT: Final = 0.05
"""Of the newest request in the running mean of the service time."""


_Task = tuple[Engine, NDArray[np.uint8], "asyncio.Future[Outputs]"]


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
    """One thread for each inference stream; an answer never waits for a batch to fill.

    ThreadPoolExecutor does the same, with a second future and its locks for each image, at a
    hundredth of what a request costs.
    """

    def __init__(self, streams: int) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._threads = [Thread(target=self._work, daemon=True) for _ in range(streams)]
        for thread in self._threads:
            thread.start()

    def infer(self, engine: Engine, image: NDArray[np.uint8]) -> "asyncio.Future[Outputs]":
        """Answer one image, uint8[S,S,1], when a stream is free, unless it is cancelled before."""
        answer = asyncio.get_running_loop().create_future()
        self._tasks.put((engine, image, answer))
        return answer

    def close(self) -> None:
        """Wait for the images being answered, then end the threads."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            _answer(*task)
            del task  # it would keep an engine in memory that another has replaced


def _answer(engine: Engine, image: NDArray[np.uint8], answer: "asyncio.Future[Outputs]") -> None:
    if answer.cancelled():
        return
    try:
        settle = partial(answer.set_result, engine.infer(image))
    except Exception as error:  # noqa: BLE001 - it is the asker's
        settle = partial(answer.set_exception, error)
    answer.get_loop().call_soon_threadsafe(_unless_cancelled, answer, settle)


def _unless_cancelled(answer: "asyncio.Future[Outputs]", settle: Callable[[], None]) -> None:
    if not answer.cancelled():
        settle()
