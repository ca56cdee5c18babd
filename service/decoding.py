"""Killable worker processes that turn bytes into pixels.

Decoders of medical images crash, loop and allocate without end on damaged files (docs/decoding.md).
So no image is parsed in the API process: every thread of a small pool takes one worker process,
sends it the bytes over a pipe and kills it when its time is up. One bad file costs its own request.
"""

import asyncio
import json
import multiprocessing
import os
import resource
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract import errors
from contract.errors import InputError, InputWarning, UnusableFile
from contract.pixels import to_display, to_model_input
from contract.radiograph import read

_MIB = 1 << 20
_WATCH_INTERVAL_S = 0.5
_NO_DISPLAY = np.zeros((0, 0), np.uint8)
_CONTEXT = multiprocessing.get_context("forkserver")


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

    code = "decode_memory"


class Decoder:
    """A pool of worker processes; `close` ends them.

    `size`: side of the network's input in pixels. `workers`: processes, one for each core is right.
    """

    def __init__(self, size: int, workers: int, timeout_s: float, memory_mib: int) -> None:
        _CONTEXT.set_forkserver_preload(["service.decoding"])
        self._settings = (size, timeout_s, memory_mib)
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(workers, "decode")
        self._workers: set[_Worker] = set()
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for _ in range(workers):
            self._idle.put(self._start())

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
            await asyncio.get_running_loop().run_in_executor(self._pool, self._replace_dead)

    def alive(self) -> bool:
        """Whether every worker process runs."""
        return all(worker.is_alive() for worker in list(self._workers))

    def close(self) -> None:
        """Wait for the files being decoded, then end the workers."""
        self._pool.shutdown()
        for worker in list(self._workers):
            self._discard(worker)

    def _start(self) -> "_Worker":
        worker = _Worker(self._settings)
        self._workers.add(worker)
        return worker

    def _discard(self, worker: "_Worker") -> None:
        self._workers.discard(worker)
        worker.close()

    def _replace_dead(self) -> None:
        for _ in range(self._idle.qsize()):
            try:
                worker = self._idle.get_nowait()
            except Empty:
                return
            self._idle.put(self._living(worker))

    def _living(self, worker: "_Worker") -> "_Worker":
        """Return the worker, or a new one where it was killed while idle."""
        if worker.is_alive():
            return worker
        self._discard(worker)
        return self._start()

    def _decode(self, data: bytes, display_side: int) -> DecodedInput:
        worker = self._living(self._idle.get())
        try:
            return worker.decode(data, display_side, self._timeout_s)
        except (DecodeTimeout, DecodeCrashed):
            self._discard(worker)
            worker = self._start()
            raise
        finally:
            self._idle.put(worker)


class _Worker:
    """One worker process, used by one thread only."""

    def __init__(self, settings: tuple[int, float, int]) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_serve, args=(theirs, *settings), daemon=True)
        self.process.start()
        theirs.close()

    def decode(self, data: bytes, display_side: int, timeout_s: float) -> DecodedInput:
        late = threading.Event()

        def kill() -> None:
            late.set()
            self.process.kill()

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
            if late.is_set():
                raise DecodeTimeout(
                    f"The file did not decode within {timeout_s:g} s; send it uncompressed."
                ) from error
            raise DecodeCrashed(
                "The file brought its decoder down; send it uncompressed."
            ) from error
        finally:
            timer.cancel()
        return _unpack(answer, arrays)

    def is_alive(self) -> bool:
        try:
            return self.process.is_alive()
        except ValueError:  # closed, and no process could be had to replace it
            return False

    def close(self) -> None:
        if not self._pipe.closed:
            self._pipe.close()
            self.process.kill()
            self.process.join()
            self.process.close()


def _unpack(answer: dict[str, Any], arrays: list[NDArray[np.uint8]]) -> DecodedInput:
    if "code" in answer:
        raise _Refused.of(answer["code"])(answer["detail"])
    warnings = tuple(InputWarning(*warning) for warning in answer["warnings"])
    pixels, display = arrays
    file_format, width, height, bits = answer["facts"]
    return DecodedInput(pixels, display, file_format, width, height, bits, warnings)


class _Refused:
    """Every input error by its code, since only bytes and JSON cross the pipe."""

    _by_code: ClassVar[dict[str, type[InputError]]] = {
        kind.code: kind
        for kind in (*vars(errors).values(), DecodeMemory)
        if isinstance(kind, type) and issubclass(kind, InputError)
    }

    @classmethod
    def of(cls, code: str) -> type[InputError]:
        return cls._by_code[code]


def _serve(pipe: Connection, size: int, timeout_s: float, memory_mib: int) -> None:
    """Answer files from the pipe until it closes; runs in the worker process."""
    _confine(memory_mib)
    while True:
        try:
            task = json.loads(pipe.recv_bytes())
            data = pipe.recv_bytes()
        except EOFError:
            return
        # Ends the process even inside a decoder that loops, should the API process be gone.
        signal.setitimer(signal.ITIMER_REAL, timeout_s + 1)
        answer, arrays = _answer(data, size, task["display_side"])
        signal.setitimer(signal.ITIMER_REAL, 0)
        pipe.send_bytes(json.dumps(answer).encode())
        for array in arrays:
            pipe.send_bytes(array.tobytes())


def _confine(memory_mib: int) -> None:
    """Limit memory, write no files, and say nothing: decoders print values of the file."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    limit = memory_mib * _MIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)


def _answer(
    data: bytes, size: int, display_side: int
) -> tuple[dict[str, Any], list[NDArray[np.uint8]]]:
    """Return the answer for the pipe and the arrays that follow it, in the order of `shapes`."""
    try:
        radiograph = read(data)
        pixels = to_model_input(radiograph, size)
        display = to_display(radiograph, display_side) if display_side else _NO_DISPLAY
    except InputError as error:
        return {"code": error.code, "detail": str(error)}, []
    except MemoryError:
        detail = "The file needs too much memory to decode; send it at a lower resolution."
        return {"code": DecodeMemory.code, "detail": detail}, []
    height, width = radiograph.pixels.shape
    facts = [radiograph.format, width, height, radiograph.bits]
    shapes = [pixels.shape, display.shape]
    return {"shapes": shapes, "facts": facts, "warnings": radiograph.warnings}, [pixels, display]
