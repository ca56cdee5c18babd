"""A process that may be brought down by the file that it reads, without taking the tests along."""

import multiprocessing
import os
import resource
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

_CONTEXT = multiprocessing.get_context("spawn")
_MEMORY_BYTES = 4 << 30
_WARM_UP_S = 60.0


class Outcome(NamedTuple):
    """What became of a file.

    `code`: "read", the code of an InputError, "out of memory", "late", "died", or "escaped" for
    any other exception. `text`: everything that the answer would say.
    """

    code: str
    text: str
    seconds: float = 0.0


class Sandbox:
    """Worker processes that read files; a worker that dies or is late is replaced."""

    def __init__(self, workers: int = 2) -> None:
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._workers = workers
        for _ in range(workers):
            self._idle.put(_Worker())

    def read(self, data: bytes, timeout_s: float = 10.0) -> Outcome:
        """Read a file as the service would: pixels and the network's input."""
        return self._ask("read", data, timeout_s)

    def decode(self, data: bytes, timeout_s: float = 10.0) -> Outcome:
        """Decode the pixel data of a DICOM file, whatever its header says about the chest."""
        return self._ask("decode", data, timeout_s)

    def read_all(self, files: Iterable[Path]) -> dict[Path, Outcome]:
        """Read many files side by side."""
        return self._ask_all("read", {path: path.read_bytes() for path in files})

    def decode_all(self, files: dict[Path, bytes]) -> dict[Path, Outcome]:
        """Decode many files side by side."""
        return self._ask_all("decode", files)

    def close(self) -> None:
        for _ in range(self._workers):
            self._idle.get().close()

    def _ask_all(self, task: str, files: dict[Path, bytes]) -> dict[Path, Outcome]:
        with ThreadPoolExecutor(self._workers) as pool:
            answers = pool.map(lambda data: self._ask(task, data, 10.0), files.values())
            return dict(zip(files, answers, strict=True))

    def _ask(self, task: str, data: bytes, timeout_s: float) -> Outcome:
        worker = self._idle.get()
        outcome = worker.ask(task, data, timeout_s)
        if outcome.code in ("died", "late"):
            worker.close()
            worker = _Worker()
        self._idle.put(worker)
        return outcome


class _Worker:
    def __init__(self) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._ready = False

    def ask(self, task: str, data: bytes, timeout_s: float) -> Outcome:
        if not self._ready:
            assert self._pipe.poll(_WARM_UP_S), "The sandbox does not start."
            self._ready = bool(self._pipe.recv())
        started = time.monotonic()
        try:
            self._pipe.send((task, data))
            if not self._pipe.poll(timeout_s):
                return Outcome("late", f"after {timeout_s} s")
            return Outcome(*self._pipe.recv(), time.monotonic() - started)
        except (EOFError, OSError):
            self._process.join()
            return Outcome("died", f"exit code {self._process.exitcode}")

    def close(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()
        self._process.close()


def _serve(pipe: Connection) -> None:
    from contract.errors import InputError

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    pipe.send(True)
    while True:
        try:
            task, data = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(("read", _TASKS[task](data)))
        except InputError as error:
            pipe.send((error.code, str(error)))
        except MemoryError:
            pipe.send(("out of memory", ""))
        except BaseException as error:  # noqa: BLE001 - panics of decoders derive from it
            pipe.send(("escaped", repr(error)))


def _read(data: bytes) -> str:
    from contract.pixels import to_model_input
    from contract.radiograph import read

    radiograph = read(data)
    assert to_model_input(radiograph, 224).shape == (224, 224, 1)
    return " ".join([radiograph.format, *(f"{w.code} {w.detail}" for w in radiograph.warnings)])


def _decode(data: bytes) -> str:
    import io

    from pydicom import dcmread

    from contract.errors import DamagedFile, InputError
    from contract.transfer import decode_samples

    dataset = dcmread(io.BytesIO(data))
    try:
        return str(decode_samples(dataset).shape)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # the caller of decode_samples does the same
        raise DamagedFile from error


_TASKS = {"read": _read, "decode": _decode}
