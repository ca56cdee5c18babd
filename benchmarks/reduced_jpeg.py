"""`python -m benchmarks.reduced_jpeg FILE...`: what decoding grey JPEGs at half size would change.

libjpeg can leave out the higher frequencies of each block and so decode at half the side. For each
grey JPEG of at least 1024 pixels among the files the network's input is made both ways; the rows
say how far pixels and probabilities of the bundled model move, and what CPU time it saves.
"""

import io
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import InputError
from contract.pixels import to_model_input
from contract.radiograph import Radiograph, read
from service.engine import Engine
from service.model import load_model
from service.settings import Settings

LEAST_SIDE: Final = 1024
SIZES: Final = (192, 224)
REPEATS: Final = 5


class Change(NamedTuple):
    """One file: differences in grey values of 255 and in probability; CPU time in ms."""

    largest: int
    mean: float
    probability: float
    whole_ms: float
    half_ms: float


def main() -> None:
    """Print one row for each size of input."""
    model = load_model(Settings())
    files = [data for data in map(Path.read_bytes, map(Path, sys.argv[1:])) if is_large_grey(data)]
    if not files:
        sys.exit(f"Name JPEG files, some of them grey and of {LEAST_SIDE} pixels or more.")
    print("input   files   largest   mean   probability   CPU ms whole   half")
    for size in SIZES:
        engine = model.engine if size == model.bundle.input_size else None
        changes = [measure(data, size, engine) for data in files]
        largest, mean, probability, whole_ms, half_ms = zip(*changes, strict=True)
        print(
            f"{size:5} {len(files):7} {max(largest):9} {statistics.mean(mean):6.2f} "
            f"{f'{max(probability):.4f}' if engine else '-':>13} "
            f"{statistics.mean(whole_ms):14.1f} {statistics.mean(half_ms):6.1f}"
        )


def is_large_grey(data: bytes) -> bool:
    """Whether the bytes are a grey JPEG that is large enough and can be used."""
    if not data.startswith(b"\xff\xd8\xff"):
        return False
    with Image.open(io.BytesIO(data)) as image:
        if image.mode != "L" or max(image.size) < LEAST_SIDE or min(image.size) < 2 * max(SIZES):
            return False
    try:
        read(data)
    except InputError:
        return False
    return True


def measure(data: bytes, size: int, engine: Engine | None) -> Change:
    """Make the network's input of a file both ways."""
    whole, whole_ms = timed(lambda: to_model_input(read(data), size))
    half, half_ms = timed(lambda: to_model_input(read_half(data), size))
    difference = np.abs(whole.astype(np.int16) - half)
    moved = 0.0
    if engine:
        answers = [engine.infer(pixels).probabilities for pixels in (whole, half)]
        moved = float(np.abs(answers[0] - answers[1]).max())
    return Change(int(difference.max()), float(difference.mean()), moved, whole_ms, half_ms)


def read_half(data: bytes) -> Radiograph:
    """Decode a grey JPEG at half its side, rounded up."""
    with Image.open(io.BytesIO(data)) as image:
        image.draft("L", (image.width // 2, image.height // 2))
        return Radiograph(np.asarray(image), "JPEG", 8)


def timed(make: Callable[[], NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], float]:
    """Return what is made and the least CPU time in ms of some repeats."""
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        made = make()
        times.append(1000 * (time.process_time() - started))
    return made, min(times)


if __name__ == "__main__":
    main()
