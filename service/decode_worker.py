"""What runs in a decoding worker process: confined, silent, one file after another."""

import contextlib
import hashlib
import json
import os
import resource
import signal
import socket
from pathlib import Path
from struct import Struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contract.errors import InputError
from contract.pixels import to_display, to_model_input
from contract.radiograph import read

TASK_HEAD: Final = Struct("!QII")
"""Length of the file in bytes, side of the network's input, largest side of the display image."""
ANSWER_HEAD: Final = Struct("!I")
"""Length of the JSON of an answer in bytes."""
Answer = tuple[dict[str, Any], list[NDArray[np.uint8]]]
"""The JSON of an answer and the arrays that follow it, see `serve`."""
TIME_IS_UP: Final = signal.SIGPROF
"""What ends a worker whose file took all of its processor time."""
OUT_OF_MEMORY: Final = "decode_memory"
_MIB: Final = 1 << 20
_ANSWER_AT_ONCE: Final = 128 << 10
"""Bytes that wait for the end of an answer, so that who waits for it is woken once."""
_FIRST_FOR_THE_KERNEL: Final = "1000"
_NO_DISPLAY: Final = np.zeros((0, 0), np.uint8)


def serve(connection: socket.socket, timeout_s: float, memory_mib: int) -> None:
    """Answer files until the connection closes; its first message gives their memory.

    A task is TASK_HEAD, with the file in that memory. The answer is ANSWER_HEAD and JSON: `facts`,
    `warnings` and `shapes`, with the uint8 of each shape behind it, or `code` and `detail`.
    `timeout_s`: processor time of a file, after which the process ends by TIME_IS_UP.
    """
    _confine(memory_mib)
    connection.setblocking(True)
    _, (memory,), _, _ = socket.recv_fds(connection, 1, 1)
    stream = connection.makefile("rwb", _ANSWER_AT_ONCE)
    while head := stream.read(TASK_HEAD.size):
        length, size, display_side = TASK_HEAD.unpack(head)
        # Ends the process even inside a decoder that loops. A file is not to blame for a busy
        # machine, so that what counts is not the time on the clock.
        signal.setitimer(signal.ITIMER_PROF, timeout_s)
        answer, arrays = _answer(memory, length, size, display_side)
        signal.setitimer(signal.ITIMER_PROF, 0)
        text = json.dumps(answer).encode()
        stream.write(ANSWER_HEAD.pack(len(text)) + text)
        for array in arrays:
            stream.write(array.data)
        stream.flush()


def _confine(memory_mib: int) -> None:
    """Limit memory, write no files, and say nothing: decoders print values of the file."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # where memory runs out, a decoder goes and not the service
        Path("/proc/self/oom_score_adj").write_text(_FIRST_FOR_THE_KERNEL)
    limit = memory_mib * _MIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)


def _answer(memory: int, length: int, size: int, display_side: int) -> Answer:
    """Return the answer for the pipe and the arrays that follow it, in the order of `shapes`."""
    try:
        data = os.pread(memory, length, 0)
        radiograph = read(data)
        pixels = to_model_input(radiograph, size)
        display = to_display(radiograph, display_side) if display_side else _NO_DISPLAY
    except InputError as error:
        return {"code": error.code, "detail": str(error)}, []
    except MemoryError:
        detail = "The file needs too much memory to decode; send it at a lower resolution."
        return {"code": OUT_OF_MEMORY, "detail": detail}, []
    height, width = radiograph.pixels.shape
    sha256 = hashlib.sha256(data).hexdigest()
    answer = {
        "shapes": [pixels.shape, display.shape],
        "facts": [radiograph.format, width, height, radiograph.bits, sha256],
        "warnings": radiograph.warnings,
    }
    return answer, [np.ascontiguousarray(pixels), np.ascontiguousarray(display)]
