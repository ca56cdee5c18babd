"""A pool of killable worker processes that turn bytes into pixels.

Decoders of medical images crash, loop and allocate without end on damaged files (docs/decoding.md).
So no image is parsed in the API process: every thread of a small pool takes one worker process,
sends it the bytes over a pipe and kills it when its time is up. One bad file costs its own request.
"""

import asyncio
import json
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract import errors
from contract.errors import InputError, InputWarning, UnusableFile
from service.decode_worker import OUT_OF_MEMORY, serve
from service.observability import log_event

_WATCH_INTERVAL_S: Final = 0.5
# What starting a process raises at a limit of the machine; it is tried again.
_NO_PROCESS: Final = (OSError, RuntimeError, EOFError)
_CONTEXT: Final = multiprocessing.get_context("forkserver")


class DecodedInput(NamedTuple):
    """The network's input, uint8[S,S,1], and the facts of its file; sizes in pixels.

    `display`: the radiograph for people, uint8[h,w], empty unless it was asked for.
    """

    pixels: NDArray[np.uint8]
    display: NDArray[np.uint8]
    format: str
    width: int
    height: int
    bits: int
    warnings: tuple[InputWarning, ...]


class DecodeTimeout(UnusableFile):
    """The file takes longer to decode than any radiograph does."""

    code = "decode_timeout"


class DecodeCrashed(UnusableFile):
    """The file brought the decoder down."""

    code = "decode_crashed"


class DecodeMemory(UnusableFile):
    """The file needs more memory to decode than a worker has."""

    code = OUT_OF_MEMORY


# Only bytes and JSON cross the pipe, so errors come as codes.
_ERRORS: Final[dict[str, type[InputError]]] = {
    kind.code: kind
    for kind in (*vars(errors).values(), DecodeMemory)
    if isinstance(kind, type) and issubclass(kind, InputError)
}


class Decoder:
    """A pool of worker processes; `close` ends them.

    `size`: side of the network's input in pixels. `workers`: processes, one for each core is right.
    A place in the pool is empty while its worker is dead; who takes the place starts a new one.
    """

    def __init__(self, size: int, workers: int, timeout_s: float, memory_mib: int) -> None:
        _CONTEXT.set_forkserver_preload(["service.decode_worker"])
        self._settings = (size, timeout_s, memory_mib)
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(workers, "decode")
        self._running: set[_Worker] = set()
        self._places: SimpleQueue[_Worker | None] = SimpleQueue()
        self._count = workers
        for _ in range(workers):
            self._places.put(self._start())

    async def decode(self, data: bytes, display_side: int = 0) -> DecodedInput:
        """Decode one file in a worker process.

        `display_side`: also return `display`, at most that many pixels a side; 0 for none.
        Raises the InputError that the worker met, or DecodeTimeout, DecodeCrashed, DecodeMemory.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._decode, data, display_side)

    async def watch(self) -> None:
        """Replace workers that die while idle, for as long as the service runs."""
        while True:
            await asyncio.sleep(_WATCH_INTERVAL_S)
            try:
                await asyncio.get_running_loop().run_in_executor(self._pool, self._replace_dead)
            except _NO_PROCESS as error:
                log_event("no_worker", error=type(error).__name__)

    def alive(self) -> bool:
        """Whether every worker process runs."""
        running = list(self._running)
        return len(running) == self._count and all(worker.is_alive() for worker in running)

    def close(self) -> None:
        """Wait for the files being decoded, then end the workers."""
        self._pool.shutdown()
        for worker in list(self._running):
            self._end(worker)

    def _start(self) -> "_Worker":
        worker = _Worker(self._settings)
        self._running.add(worker)
        return worker

    def _end(self, worker: "_Worker") -> None:
        self._running.discard(worker)
        worker.close()

    def _living(self, worker: "_Worker | None") -> "_Worker":
        """Return the worker, or a new one where it was killed while idle."""
        if worker is not None and worker.is_alive():
            return worker
        if worker is not None:
            self._end(worker)
        return self._start()

    def _replace_dead(self) -> None:
        for _ in range(self._count):
            try:
                worker = self._places.get_nowait()
            except Empty:
                return
            replacement = None
            try:
                replacement = self._living(worker)
            finally:
                self._places.put(replacement)

    def _decode(self, data: bytes, display_side: int) -> DecodedInput:
        place, worker = self._places.get(), None
        try:
            worker = self._living(place)
            answer = worker.ask(data, display_side, self._timeout_s)
        except BaseException:
            # Whatever broke the exchange off, an unread answer must not meet the next request.
            if worker is not None:
                self._end(worker)
            worker = self._try_start()
            raise
        finally:
            self._places.put(worker)
        return _unpack(*answer)

    def _try_start(self) -> "_Worker | None":
        try:
            return self._start()
        except _NO_PROCESS:
            return None


class _Worker:
    """One worker process, used by one thread at a time."""

    def __init__(self, settings: tuple[int, float, int]) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=serve, args=(theirs, *settings), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def ask(
        self, data: bytes, display_side: int, timeout_s: float
    ) -> tuple[dict[str, Any], list[NDArray[np.uint8]]]:
        """Send one file and return the worker's answer and arrays, or kill it in time."""
        late = threading.Event()

        def kill() -> None:
            late.set()
            self._process.kill()

        # Killing the process ends a blocked send as well as a blocked receive.
        timer = threading.Timer(timeout_s, kill)
        timer.start()
        try:
            self._pipe.send_bytes(json.dumps({"display_side": display_side}).encode())
            self._pipe.send_bytes(data)
            answer = json.loads(self._pipe.recv_bytes())
            arrays = [
                np.frombuffer(self._pipe.recv_bytes(), np.uint8).reshape(shape)
                for shape in answer.get("shapes", ())
            ]
        except (EOFError, OSError) as error:
            if not late.is_set():
                raise DecodeCrashed(
                    "The file brought its decoder down; send it uncompressed."
                ) from error
        finally:
            timer.cancel()
            timer.join()
        if late.is_set():  # also where the answer came just before the kill
            raise DecodeTimeout(
                f"The file did not decode within {timeout_s:g} s; send it uncompressed."
            )
        return answer, arrays

    def is_alive(self) -> bool:
        try:
            return self._process.is_alive()
        except ValueError:  # closed by another thread between two looks
            return False

    def close(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()
        self._process.close()


def _unpack(answer: dict[str, Any], arrays: list[NDArray[np.uint8]]) -> DecodedInput:
    if "code" in answer:
        raise _ERRORS[answer["code"]](answer["detail"])
    pixels, display = arrays
    warnings = tuple(InputWarning(*warning) for warning in answer["warnings"])
    file_format, width, height, bits = answer["facts"]
    return DecodedInput(pixels, display, file_format, width, height, bits, warnings)
