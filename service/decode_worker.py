"""What runs in a decoding worker process: confined, silent, one file after another."""

import json
import os
import resource
import signal
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contract.errors import InputError
from contract.pixels import to_display, to_model_input
from contract.radiograph import read

OUT_OF_MEMORY: Final = "decode_memory"
_MIB: Final = 1 << 20
_NO_DISPLAY: Final = np.zeros((0, 0), np.uint8)


def serve(pipe: Connection, size: int, timeout_s: float, memory_mib: int) -> None:
    """Answer files from the pipe until it closes.

    A task is two messages: JSON with `display_side`, then the file. The answer is JSON with
    `facts`, `warnings` and `shapes`, then one message of uint8 for each shape; or JSON with `code`
    and `detail`.
    """
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
        return {"code": OUT_OF_MEMORY, "detail": detail}, []
    height, width = radiograph.pixels.shape
    facts = [radiograph.format, width, height, radiograph.bits]
    shapes = [pixels.shape, display.shape]
    return {"shapes": shapes, "facts": facts, "warnings": radiograph.warnings}, [pixels, display]
