"""A pool of killable worker processes that turn bytes into pixels.

Decoders of medical images crash, loop and allocate without end on damaged files (docs/decoding.md).
So no image is parsed in the API process: a request takes one worker process, hands it the bytes in
memory that both share and kills it when its time is up. One bad file costs its own request.
"""

import asyncio
import contextlib
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.errors import InputWarning
from service.decode_errors import ERRORS, DecodeCrashed, DecodeTimeout, NoDecoder
from service.decode_process import Worker, preload
from service.decode_worker import Answer
from service.observability import log_event

_WALL_TIMES: Final = 3
"""On a busy machine a file takes longer on the clock than in processor time, up to this often."""
_WATCH_INTERVAL_S: Final = 0.25
# A worker that somebody else kills, such as the kernel when memory runs out, costs no request.
_TRIES: Final = 2


class DecodedInput(NamedTuple):
    """The network's input, uint8[S,S,1], and the facts of its file; sizes in pixels.

    `display`: the radiograph for people, uint8[h,w], empty unless it was asked for.
    `sha256`: of the file, in hexadecimal.
    """

    pixels: NDArray[np.uint8]
    display: NDArray[np.uint8]
    format: str
    width: int
    height: int
    bits: int
    sha256: str
    warnings: tuple[InputWarning, ...]


class Decoder:
    """A pool of worker processes, used by one event loop; `close` ends them.

    `workers`: processes, one for each core is right. `timeout_s`: processor time of a file, which
    may take three times as long on the clock. `restarts`: how many had to be replaced.
    """

    def __init__(self, workers: int, timeout_s: float, memory_mib: int) -> None:
        preload()
        self._start = partial(Worker, timeout_s, memory_mib)
        self._timeout_s = timeout_s
        self._wall_s = _WALL_TIMES * timeout_s
        self._count = workers
        self._places = asyncio.Semaphore(workers)
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._ended: list[Worker] = []
        self.restarts = -workers
        self._fill()

    async def decode(
        self, data: bytes | bytearray, size: int, display_side: int = 0
    ) -> DecodedInput:
        """Decode one file in a worker process.

        `size`: side of the network's input in pixels. `display_side`: also return `display`, at
        most that many pixels a side; 0 for none.
        Raises the InputError that the worker met, or DecodeTimeout, DecodeCrashed, DecodeMemory;
        NoDecoder where there is no worker, no memory to hand it the file, or no processor for it.
        """
        async with self._places:
            for _ in range(_TRIES):
                answer = await self._ask(data, size, display_side)
                if answer is not None:
                    return _unpack(*answer)
        raise _crashed()

    async def watch(self) -> None:
        """Replace workers that die while idle, for as long as the service runs."""
        while True:
            await asyncio.sleep(_WATCH_INTERVAL_S)
            try:
                self.replace_dead()
            except Exception as error:  # noqa: BLE001 - a watch that ends would leave none
                log_event("no_worker", error=type(error).__name__)

    def alive(self) -> bool:
        """Whether every worker process runs."""
        workers = [*self._idle, *self._busy]
        return len(workers) == self._count and all(worker.is_alive() for worker in workers)

    def replace_dead(self) -> None:
        """Start a worker for each that died; raises OSError where no process is to be had."""
        self._ended = [worker for worker in self._ended if not worker.reap(0)]
        for worker in [worker for worker in self._idle if not worker.is_alive()]:
            self._idle.remove(worker)
            self._end(worker)
        self._fill()

    def close(self) -> None:
        """End the workers, also those that decode."""
        for worker in (*self._idle, *self._busy):
            self._end(worker)
        self._idle.clear()
        self._busy.clear()
        for worker in self._ended:
            worker.reap(None)

    def _fill(self) -> None:
        while len(self._idle) + len(self._busy) < self._count:
            self._idle.append(self._start())
            self.restarts += 1

    def _end(self, worker: Worker) -> None:
        # Freeing a gigabyte takes the kernel a while, so that its end is not waited for here.
        worker.kill()
        self._ended.append(worker)

    async def _ask(self, data: bytes | bytearray, size: int, display_side: int) -> Answer | None:
        """Return the answer of a worker, or None where somebody else killed it."""
        worker = self._take()
        self._busy.add(worker)
        usable = False
        try:
            async with asyncio.timeout(self._wall_s):
                answer = await worker.ask(data, size, display_side)
            usable = not worker.is_worn()
        except NoDecoder:
            usable = True  # it was not asked
            raise
        except TimeoutError as error:
            raise NoDecoder from error
        except (EOFError, OSError) as error:
            if worker.killed_from_outside():
                return None
            if worker.ran_out_of_time():
                raise DecodeTimeout(
                    f"The file did not decode within {self._timeout_s:g} s of processor time; send "
                    "it as JPEG-LS or HTJ2K, or uncompressed."
                ) from error
            raise _crashed() from error
        finally:
            if worker in self._busy:  # not closed meanwhile
                self._put_back(worker, usable=usable)
        return answer

    def _take(self) -> Worker:
        if not self._idle or not self._idle[-1].is_alive():
            try:
                self.replace_dead()
            except OSError as error:
                if not self._idle:
                    raise NoDecoder from error
        return self._idle.pop()

    def _put_back(self, worker: Worker, *, usable: bool) -> None:
        self._busy.remove(worker)
        if usable:
            self._idle.append(worker)
            return
        # Whatever broke the exchange off, an unread answer must not meet the next request.
        self._end(worker)
        with contextlib.suppress(OSError):
            self.replace_dead()


def _crashed() -> DecodeCrashed:
    return DecodeCrashed("The file brought its decoder down; send it uncompressed.")


def _unpack(answer: dict[str, Any], arrays: list[NDArray[np.uint8]]) -> DecodedInput:
    if "code" in answer:
        raise ERRORS[answer["code"]](answer["detail"])
    warnings = tuple(InputWarning(*warning) for warning in answer["warnings"])
    pixels, display = arrays
    file_format, width, height, bits, sha256 = answer["facts"]
    return DecodedInput(pixels, display, file_format, width, height, bits, sha256, warnings)
